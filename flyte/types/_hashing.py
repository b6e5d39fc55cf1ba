"""The bytes that stand for a value when it is hashed (wire-protocol section 6.2, "literal repr")."""

from flyteidl2.core.literals_pb2 import Binary, Literal, Scalar


def canonical_bytes(literal: Literal) -> bytes:
    """What of a literal its hash is made of.

    ``Literal.hash`` if there is one; of a collection the members one after the other; of a map key and member in the
    order of the keys; of a msgpack binary the literal with its maps sorted; of a union whose value has a hash inside
    that value's canonical bytes and its type; else the deterministic bytes.
    """
    if literal.hash:
        return literal.hash.encode()
    which = literal.WhichOneof("value")
    if which == "collection":
        return b"".join([canonical_bytes(member) for member in literal.collection.literals])
    if which == "map":
        members = literal.map.literals
        return b"".join([key.encode() + canonical_bytes(members[key]) for key in sorted(members)])
    if which == "scalar" and literal.scalar.HasField("union") and has_hash(literal.scalar.union.value):
        # The members' hashes replace their content, whose bytes may name a file made anew each time.
        union = literal.scalar.union
        variant = union.type.SerializeToString(deterministic=True)
        marks = "".join(f"{key}={literal.metadata[key]};" for key in sorted(literal.metadata))
        return canonical_bytes(union.value) + variant + marks.encode()
    if which == "scalar" and literal.scalar.HasField("binary") and literal.scalar.binary.tag == "msgpack":
        from flyte.types._packing import sort_payload

        payload = sort_payload(literal.scalar.binary.value)
        copy = Literal(scalar=Scalar(binary=Binary(value=payload, tag="msgpack")))
        copy.metadata.update(literal.metadata)
        return copy.SerializeToString(deterministic=True)
    return literal.SerializeToString(deterministic=True)


def has_hash(literal: Literal) -> bool:
    """Whether a value, or a member of it, brings a hash of its own."""
    if literal.hash:
        return True
    which = literal.WhichOneof("value")
    if which == "collection":
        return any(map(has_hash, literal.collection.literals))
    if which == "map":
        return any(map(has_hash, literal.map.literals.values()))
    return which == "scalar" and literal.scalar.HasField("union") and has_hash(literal.scalar.union.value)
