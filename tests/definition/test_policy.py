"""Cache, retries, limits of time, reuse: what is accepted, what it means, what is refused."""

import ast
import hashlib
import importlib.util
import inspect
import logging
import math
import pickle
import re
import textwrap
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flyte
from flyte import Backoff, Cache, CachePolicy, RetryStrategy, ReusePolicy, Timeout
from flyte._definition.cache import FunctionBodyPolicy, cache_from_request
from flyte._definition.cache_policy import VersionParameters
from flyte._definition.retry import retry_from
from flyte._definition.timeout import timeout_from_request


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def double(x: int) -> int:
    """Twice."""
    return x * 2


def function_of(folder, source, name="f"):
    """``name``, defined by a real file with this source."""
    path = folder / f"m{len(list(folder.iterdir()))}.py"
    path.write_text(textwrap.dedent(source))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


class Fixed:
    def __init__(self, version):
        self.version = version

    def get_version(self, salt, params):
        return f"{self.version}-{salt}"


# Cache ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "behavior"),
    [("auto", "auto"), ("override", "override"), ("disable", "disable")]
    + [(word, "auto") for word in ("enable", "enabled", "on", "true", "yes", "AUTO", "True")]
    + [(word, "disable") for word in ("off", "no", "none", "false", "Off")],
)
def test_cache_request(request_, behavior):
    """X8, F8: auto, override, disable and the words that people write for them."""
    cache = cache_from_request(request_)
    assert cache == Cache(behavior) == Cache(request_)
    assert cache.behavior == behavior
    assert cache.is_enabled() is (behavior != "disable")


def test_cache_request_of_a_cache():
    """X8: a Cache is taken as it is."""
    cache = Cache("auto", salt="s")
    assert cache_from_request(cache) is cache


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: cache_from_request("atuo"), ValueError, "cache='atuo' is not known; did you mean 'auto'?"),
        (
            lambda: cache_from_request("bogus"),
            ValueError,
            "use 'auto', 'override' or 'disable' (also understood: enable",
        ),
        (
            lambda: cache_from_request(True),
            TypeError,
            "cache takes 'auto', 'override', 'disable' or a flyte.Cache, got True",
        ),
        (lambda: cache_from_request(None), TypeError, "got None"),
        (lambda: Cache("bogus"), ValueError, "cache='bogus' is not known"),
        (lambda: Cache("auto", version_override=3), TypeError, "version_override takes a text, got 3; write '3'"),
        (lambda: Cache("auto", serialize=1), TypeError, "serialize takes True or False, got 1"),
        (lambda: Cache("auto", salt=None), TypeError, "salt takes a text"),
        (lambda: Cache("auto", ignored_inputs=3), TypeError, "ignored_inputs takes a name or a tuple of names, got 3"),
        (lambda: Cache("auto", ignored_inputs=("a", 3)), TypeError, "ignored_inputs takes"),
        (lambda: Cache("auto", policies=3), TypeError, "policies takes objects with get_version(salt, params), got 3"),
        (lambda: Cache("auto", policies=Fixed), TypeError, "got the class Fixed; write Fixed()"),
        (lambda: Cache("auto", max_age=-1), ValueError, "max_age=-1 is negative"),
        (lambda: Cache("auto", max_age="1h"), TypeError, "max_age takes seconds or a timedelta, got '1h'"),
    ],
)
def test_cache_refused(make, error, message):
    """X7, X8: unknown words name the valid ones; wrong types name the parameter."""
    with pytest.raises(error, match=re.escape(message)):
        make()


def test_cache_in_the_documented_order():
    """X7: the parameters of 2.12.1, positional; behavior has no default."""
    cache = Cache("auto", "1", True, ("a",), "s", None, 60)
    assert (cache.version_override, cache.serialize, cache.get_ignored_inputs()) == ("1", True, ("a",))
    assert (cache.salt, cache.max_age) == ("s", timedelta(minutes=1))
    with pytest.raises(TypeError):
        Cache()


@pytest.mark.parametrize(
    ("given", "names"),
    [((), ()), ("x", ("x",)), (["x", "y"], ("x", "y")), (("y", "x"), ("y", "x")), ({"b", "a"}, ("a", "b"))],
)
def test_ignored_inputs(given, names):
    """X7: one name becomes a tuple."""
    assert Cache("auto", ignored_inputs=given).get_ignored_inputs() == names
    assert Cache("auto", ignored_inputs=given).ignored_inputs == names


@pytest.mark.parametrize(
    ("given", "span"), [(60, timedelta(minutes=1)), (timedelta(days=1),) * 2, (0, timedelta()), (None, None)]
)
def test_max_age(given, span):
    """X7: max_age in seconds or as a timedelta."""
    assert Cache("auto", max_age=given).max_age == span


def test_version_of_a_function_body():
    """X7: sha256 of the dump of the dedented source's tree and the salt; auto hashes the policies' versions."""
    dump = ast.dump(ast.parse(textwrap.dedent(inspect.getsource(double))))
    parameters = VersionParameters(func=double)
    for salt in ("", "s"):
        version = sha256(dump + salt)
        assert FunctionBodyPolicy().get_version(salt, parameters) == version
        assert Cache("auto", salt=salt).get_version(parameters) == sha256(version)
    assert Cache("auto", salt="s").get_version(parameters) != Cache("auto").get_version(parameters)


def test_version_changes_with_the_body_only(tmp_path):
    """B9: another body is another version; layout, comments and the file's place are not."""
    version = {
        name: FunctionBodyPolicy().get_version("", VersionParameters(func=function_of(tmp_path, source)))
        for name, source in {
            "plain": "def f(x):\n    return x + 1\n",
            "moved": "\n\n\nif True:\n    def f(x):\n        # a comment\n\n        return x  +  1\n",
            "body": "def f(x):\n    return x + 2\n",
            "default": "def f(x=1):\n    return x + 1\n",
        }.items()
    }
    assert version["plain"] == version["moved"]
    assert len(set(version.values())) == 3


def test_source_is_read_once(tmp_path, monkeypatch):
    """X7: the source of a function is read once, for whatever salt."""
    read = []
    real = inspect.getsource
    monkeypatch.setattr(inspect, "getsource", lambda func: read.append(func.__name__) or real(func))
    f = function_of(tmp_path, "def f():\n    return 1\n")
    versions = {Cache("auto", salt=salt).get_version(VersionParameters(func=f)) for salt in "aabb"}
    assert (read, len(versions)) == (["f"], 2)


def test_functions_are_told_apart_not_by_name(tmp_path):
    """B9: two functions of one name have each their own version."""
    one, two = (function_of(tmp_path, f"def f():\n    return {n}\n") for n in (1, 2))
    assert len({Cache("auto").get_version(VersionParameters(func=f)) for f in (one, two)}) == 2


def test_function_without_source():
    """X7: a function typed at a prompt has no source; the message says what to write instead."""
    scope = {}
    exec("def typed(x):\n    return x", scope)
    with pytest.raises(OSError, match=r"source of 'typed', which cannot be read.*version_override='1'"):
        Cache("auto").get_version(VersionParameters(func=scope["typed"]))
    with pytest.raises(OSError, match="version_override"):
        Cache("auto").get_version(VersionParameters(func=len))
    with pytest.raises(ValueError, match="this task has none"):
        Cache("auto").get_version(VersionParameters(func=None))


def test_version_override():
    """X7: the version given is the version; without any, auto and override say what is missing."""
    assert Cache("auto", version_override="7").get_version() == "7"
    assert Cache("override", version_override="7").get_version(VersionParameters(func=double)) == "7"
    with pytest.raises(ValueError, match="has no version: give version_override"):
        Cache("auto").get_version()
    for parameters in (None, VersionParameters(func=double)):
        with pytest.raises(ValueError, match="give it a version_override"):
            Cache("override").get_version(parameters)


def test_disabled_has_no_version():
    """X7: off is empty."""
    assert Cache("disable").get_version() == ""
    assert Cache("disable", version_override="7").get_version(VersionParameters(func=double)) == ""


def test_policies_are_concatenated():
    """X7: several policies make one version, in their order."""
    parameters = VersionParameters(func=double)
    both = Cache("auto", policies=[Fixed("a"), Fixed("b")], salt="s")
    assert both.get_version(parameters) == sha256("a-sb-s")
    assert Cache("auto", policies=Fixed("a"), salt="s").get_version(parameters) == sha256("a-s")
    assert both.get_version(parameters) != Cache("auto", policies=[Fixed("b"), Fixed("a")], salt="s").get_version(
        parameters
    )
    assert Cache("auto", policies=[]).get_version(parameters) == Cache("auto").get_version(parameters)


def test_policy_protocol():
    """X7: any object with get_version is a policy; it sees function and image."""
    seen = []

    class Watching:
        def get_version(self, salt, params):
            seen.append((salt, params.func, params.image))
            return "v"

    assert isinstance(Watching(), CachePolicy)
    assert isinstance(FunctionBodyPolicy(), CachePolicy)
    Cache("auto", policies=Watching(), salt="s").get_version(VersionParameters(func=double, image="i:1"))
    assert seen == [("s", double, "i:1")]


def test_cache_value_semantics():
    """X7: equal by content, hashable, and the same after pickling."""
    assert {Cache("auto"): 1}[pickle.loads(pickle.dumps(Cache("enable")))] == 1
    assert Cache("auto") != Cache("auto", salt="s")


# Retries --------------------------------------------------------------------------------------------------------------


def seconds(value):
    return timedelta(seconds=value)


def test_retry_from():
    """F10: a number of retries becomes a strategy."""
    assert retry_from(0) == RetryStrategy(0)
    assert retry_from(3) == RetryStrategy(count=3, backoff=None)
    strategy = RetryStrategy(2, Backoff(seconds(1)))
    assert retry_from(strategy) is strategy


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: retry_from(-1), ValueError, "retries=-1 is negative; give 0"),
        (lambda: retry_from("3"), TypeError, "retries takes a number of retries or a flyte.RetryStrategy, got '3'"),
        (lambda: retry_from(True), TypeError, "got True"),
        (lambda: retry_from(None), TypeError, "got None"),
        (lambda: RetryStrategy(-1), ValueError, "RetryStrategy: count=-1 is not allowed; give 0 or more"),
        (lambda: RetryStrategy(1.5), TypeError, "count takes a whole number, got 1.5"),
        (lambda: RetryStrategy(1, backoff="1s"), TypeError, "backoff takes seconds or a timedelta, got '1s'"),
        (lambda: RetryStrategy(1, backoff=-1), ValueError, "backoff=-1 is not a length of time"),
        (lambda: RetryStrategy(1, backoff_factor=2), ValueError, "backoff_factor=2 needs a wait in backoff"),
        (lambda: RetryStrategy(1, Backoff(seconds(1)), 2), ValueError, "Backoff has a factor of its own"),
        (lambda: RetryStrategy(1, 1, 0.5), ValueError, "factor=0.5 is not allowed"),
        (lambda: Backoff(1), TypeError, "base takes a timedelta, got 1; write timedelta(seconds=...)"),
        (lambda: Backoff(seconds(-1)), ValueError, "base=datetime.timedelta(days=-1"),
        (lambda: Backoff(seconds(1), 0.5), ValueError, "factor=0.5 is not allowed; give 1 or more"),
        (lambda: Backoff(seconds(1), math.nan, seconds(1)), ValueError, "factor=nan"),
        (lambda: Backoff(seconds(1), "2"), TypeError, "factor takes a number, got '2'"),
        (
            lambda: Backoff(seconds(1), 2),
            ValueError,
            "factor=2 makes waits grow without end; give the longest with cap",
        ),
        (lambda: Backoff(seconds(1), 2, 5), TypeError, "cap takes a timedelta, got 5"),
        (lambda: Backoff(seconds(1), 2, seconds(5)).delay_s(-1), ValueError, "n=-1 is not allowed"),
    ],
)
def test_retries_refused(make, error, message):
    """X5, F10: each with parameter, value and remedy."""
    with pytest.raises(error, match=re.escape(message)):
        make()


def test_backoff_schedule():
    """B2: base x factor^n up to the cap."""
    backoff = Backoff(base=seconds(1), factor=2, cap=seconds(5))
    assert [backoff.delay_s(n) for n in range(5)] == [1, 2, 4, 5, 5]
    assert [backoff.compute_delay(n) for n in range(2)] == [seconds(1), seconds(2)]
    assert [RetryStrategy(9, backoff).delay_s(n) for n in range(5)] == [1, 2, 4, 5, 5]
    assert [RetryStrategy(3).delay_s(n) for n in range(3)] == [0, 0, 0]
    assert [Backoff(seconds(2)).delay_s(n) for n in (0, 5, 10**6)] == [2, 2, 2]
    assert backoff.delay_s(10**6) == 5
    assert Backoff(timedelta(), 2, seconds(5)).delay_s(10**6) == 0


@given(base=st.floats(0, 1e6), factor=st.floats(1, 1e6), cap=st.floats(0, 1e6), n=st.integers(0, 10**9))
def test_backoff_grows_up_to_the_cap(base, factor, cap, n):
    """B2: waits never shrink, never pass the cap, and follow the formula until then."""
    backoff = Backoff(seconds(base), factor, seconds(cap))
    base_s, cap_s = backoff.base.total_seconds(), backoff.cap.total_seconds()
    first, here, after = backoff.delay_s(0), backoff.delay_s(n), backoff.delay_s(n + 1)
    assert first == min(base_s, cap_s)
    assert 0 <= first <= here <= after <= cap_s
    if here < cap_s and base_s:
        assert math.isclose(here, base_s * factor**n, rel_tol=1e-9)


def test_older_form():
    """X5: backoff as a number or timedelta with a factor, as 2.0 had it, follows the same formula with no cap."""
    old = RetryStrategy(count=5, backoff=1, backoff_factor=2)
    assert [old.delay_s(n) for n in range(5)] == [1, 2, 4, 8, 16]
    assert RetryStrategy(5, seconds(1), 2) == old == RetryStrategy(5, Backoff(seconds(1), 2, cap=seconds(16)))
    assert [RetryStrategy(3, 0.5).delay_s(n) for n in range(3)] == [0.5, 0.5, 0.5]
    assert RetryStrategy(10**6, 1, 10).delay_s(10**6 - 1) == timedelta.max.total_seconds()
    assert RetryStrategy(0, 1, 2).delay_s(0) == 1


# Limits of time -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (None, None),
        (0, None),
        (timedelta(), None),
        (Timeout(), None),
        (Timeout(0, 0, timedelta()), None),
        (5, Timeout(max_runtime=5)),
        (timedelta(minutes=1), Timeout(max_runtime=timedelta(minutes=1))),
        (0.5, Timeout(max_runtime=0.5)),
        (Timeout(deadline=5), Timeout(deadline=5)),
        (Timeout(0, 3), Timeout(0, 3)),
    ],
)
def test_timeout_request(request_, expected):
    """X6, F15: None and 0 are no limit; a number or a timedelta is the runtime of an attempt."""
    assert timeout_from_request(request_) == expected


def test_timeout_in_seconds():
    """X6: each limit in seconds, None for none; all three optional."""
    timeout = Timeout(max_runtime=5, max_queued_time=timedelta(minutes=1), deadline=0)
    assert (timeout.max_runtime_s, timeout.max_queued_time_s, timeout.deadline_s) == (5.0, 60.0, None)
    assert (Timeout().max_runtime_s, Timeout().max_queued_time_s, Timeout().deadline_s) == (None, None, None)
    assert Timeout(timedelta(seconds=0.5)).max_runtime_s == 0.5


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: timeout_from_request(-1), ValueError, "timeout=-1 is not a length of time; give 0 or more seconds"),
        (lambda: timeout_from_request(seconds(-1)), ValueError, "timeout=datetime.timedelta(days=-1"),
        (
            lambda: timeout_from_request("5"),
            TypeError,
            "timeout takes seconds, a timedelta or a flyte.Timeout, got '5'",
        ),
        (lambda: timeout_from_request(True), TypeError, "got True"),
        (lambda: Timeout(max_runtime=-5), ValueError, "Timeout: max_runtime=-5 is not a length of time"),
        (lambda: Timeout(max_queued_time=-5), ValueError, "Timeout: max_queued_time=-5"),
        (lambda: Timeout(deadline="5"), TypeError, "Timeout: deadline takes seconds or a timedelta, got '5'"),
        (lambda: Timeout(deadline=math.inf), ValueError, "deadline=inf"),
    ],
)
def test_timeout_refused(make, error, message):
    """X6: negative times and other types."""
    with pytest.raises(error, match=re.escape(message)):
        make()


# Reuse ----------------------------------------------------------------------------------------------------------------


def test_reuse_defaults():
    """X4: the documented defaults; a number of replicas is (n, n)."""
    policy = ReusePolicy()
    assert policy == ReusePolicy(2, 30, 1, 30, "global") == ReusePolicy((2, 2), seconds(30), 1, seconds(30))
    assert (policy.replicas, policy.min_replicas, policy.max_replicas) == ((2, 2), 2, 2)
    assert (policy.idle_ttl, policy.get_scaledown_ttl()) == (seconds(30), seconds(30))
    assert (policy.idle_ttl_s, policy.scaledown_ttl_s) == (30, 30)


def test_reuse_autoscale():
    """X4: a tuple is (least, most)."""
    policy = ReusePolicy(replicas=(0, 3), idle_ttl=timedelta(minutes=2), concurrency=4, scope="run")
    assert (policy.min_replicas, policy.max_replicas, policy.idle_ttl_s) == (0, 3, 120)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"replicas": -1}, ValueError, "replicas=-1 is not allowed; give 0 or more"),
        ({"replicas": 0}, ValueError, "replicas=0 leaves no worker; give 1 or more"),
        ({"replicas": (0, 0)}, ValueError, "replicas=(0, 0) leaves no worker"),
        ({"replicas": (3, 1)}, ValueError, "replicas=(3, 1) asks for at least more than at most; swap the two"),
        ({"replicas": (1, 2, 3)}, ValueError, "has 3 parts; write (least, most)"),
        ({"replicas": [1, 2]}, TypeError, "replicas takes a whole number, got [1, 2]"),
        ({"replicas": 2.0}, TypeError, "replicas takes a whole number, got 2.0"),
        ({"concurrency": 0}, ValueError, "concurrency=0 is not allowed; give 1 or more"),
        ({"concurrency": -1}, ValueError, "concurrency=-1"),
        ({"concurrency": True}, TypeError, "concurrency takes a whole number"),
        ({"idle_ttl": 29}, ValueError, "idle_ttl=29 is too short; give 30 seconds or more"),
        ({"idle_ttl": seconds(29)}, ValueError, "idle_ttl=datetime.timedelta(seconds=29) is too short"),
        ({"idle_ttl": -1}, ValueError, "idle_ttl=-1 is not a length of time"),
        ({"idle_ttl": "30"}, TypeError, "idle_ttl takes seconds or a timedelta, got '30'"),
        ({"scaledown_ttl": 0}, ValueError, "scaledown_ttl=0 is too short"),
        ({"scope": "x"}, ValueError, "scope='x' is not known; use 'global' or 'run'"),
    ],
)
def test_reuse_refused(arguments, error, message):
    """X4: min > max, negative, no concurrency, less than 30 s, unknown scope."""
    with pytest.raises(error, match=re.escape(message)):
        ReusePolicy(**arguments)


@pytest.mark.parametrize(
    ("arguments", "warns"),
    [
        ({"replicas": 1}, True),
        ({"replicas": (0, 1)}, True),
        ({"replicas": 1, "concurrency": 2}, False),
        ({"replicas": (1, 2)}, False),
        ({}, False),
    ],
)
def test_reuse_warns_of_starvation(arguments, warns, caplog):
    """X4: one worker that takes one call at a time."""
    # flyte.init() stops the logger from handing on to the root, where caplog listens.
    logger, propagated = logging.getLogger("flyte"), logging.getLogger("flyte").propagate
    logger.propagate = True
    try:
        with caplog.at_level("WARNING", logger="flyte"):
            ReusePolicy(**arguments)
    finally:
        logger.propagate = propagated
    assert ("starv" in caplog.text) is warns


@pytest.mark.parametrize("name", ["Cache", "RetryStrategy", "Backoff", "Timeout", "ReusePolicy", "CachePolicy"])
def test_public_names(name):
    """A public class's module is its public path."""
    assert getattr(flyte, name).__module__ == "flyte"
