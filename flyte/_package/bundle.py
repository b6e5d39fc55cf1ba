"""Code bundles; their signature only, bundling is not in this version."""

from flyte._core.code_bundle import CodeBundle


async def download_code_bundle(code_bundle: CodeBundle) -> CodeBundle:
    """Fetch and unpack a code bundle, unless that has been done.

    :param code_bundle: the bundle; one whose ``downloaded_path`` exists is given back as it is.
    :raises NotImplementedError: it would have to be fetched; this version of flyte cannot.
    """
    if code_bundle.downloaded_path is not None and code_bundle.downloaded_path.exists():
        return code_bundle
    raise NotImplementedError(
        f"download_code_bundle() cannot fetch {code_bundle.tgz or code_bundle.pkl!r}: this version of flyte runs the "
        "code of this process"
    )
