"""tools/teeth.py, which breaks the package on purpose: its list is in step, and it judges rightly.

The breaks themselves take minutes: `make teeth`.
"""

import ast
import re

import pytest

from tools import teeth

PASSING = '<testcase classname="tests.test_flows" name="test_a" />'
FAILING = ('<testcase classname="tests.test_flows" name="test_b">'
           '<failure message="assert 2.0 == 1.0 ± 1.0e-06">long</failure></testcase>')
# As pytest writes them, of a file that cannot be imported and of a fixture that raises.
UNCOLLECTED = ('<testcase classname="" name="tests.test_flows">'
               '<error message="collection failure">ImportError</error></testcase>')
NO_FIXTURE = ('<testcase classname="tests.test_flows" name="test_c">'
              '<error message="failed on setup with &quot;OSError&quot;">long</error></testcase>')
SKIPPED = ('<testcase classname="tests.test_flows" name="test_d">'
           '<skipped message="no g++" /></testcase>')


def of_kind(kind):
    return FAILING.replace("assert 2.0 == 1.0 ± 1.0e-06", f"{kind}: what it says")


def report(*cases):
    return f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>"


def meaning(file, source):
    """A program without its comments."""
    if file.endswith(".js"):
        return re.sub(r"//.*", "", source)
    return ast.dump(ast.parse(source))


@pytest.mark.parametrize("each", teeth.BREAKS, ids=lambda each: f"{each.file}, {each.what}")
def test_no_break_is_stale(each):
    assert each.stale() is None
    source = (teeth.ROOT / "bfn_core" / each.file).read_text("utf-8")
    broken = source.replace(each.right, each.wrong)
    assert meaning(each.file, broken) != meaning(each.file, source), "nothing is broken"
    for test in each.tests:
        file, _, name = test.partition("::")
        text = (teeth.ROOT / "tests" / file).read_text("utf-8")
        assert not name or f"def {name}(" in text, f"there is no {test}"


def test_there_are_breaks_for_every_part_of_the_package():
    assert len(teeth.BREAKS) >= 35
    assert len({(each.file, each.what) for each in teeth.BREAKS}) == len(teeth.BREAKS)
    parts = {"schedules", "beliefs", "numerics", "distributions", "flows", "model", "samplers",
             "exact", "likelihood", "mixed", "infilling", "discretised_mean", "training/losses",
             "networks/conditions", "data/images"}
    assert {f"{part}.py" for part in parts} <= {each.file for each in teeth.BREAKS}


def test_a_break_whose_text_is_gone_or_stands_twice_is_stale():
    gone = teeth.Break("flows.py", "", "no such line", "", ())
    twice = teeth.Break("flows.py", "", "self.check(x)", "", ())
    assert "stands 0 times in flows.py" in gone.stale()
    assert "times in flows.py" in twice.stale()


@pytest.mark.parametrize(
    ("code", "cases", "caught", "said"),
    [
        (1, [PASSING, FAILING], True, "tests.test_flows::test_b"),
        (1, [NO_FIXTURE, FAILING], True, "tests.test_flows::test_b"),
        (1, [of_kind("ValueError")], True, "tests.test_flows::test_b"),
        (0, [PASSING], False, "every test passed"),
        (1, [PASSING, UNCOLLECTED], False, "no test failed"),
        (1, [NO_FIXTURE], False, "no test failed"),
        (1, [SKIPPED], False, "no test failed"),
        (1, [], False, "no test failed"),
        (1, [of_kind("NameError")], False, "no wrong value, but NameError"),
        (1, [of_kind("ModuleNotFoundError")], False, "no wrong value, but ModuleNotFoundError"),
        (2, [UNCOLLECTED], False, "ended with 2"),
        (3, [FAILING], False, "ended with 3"),
        (4, [], False, "ended with 4"),
        (5, [], False, "ended with 5"),
        (-11, [], False, "ended with -11"),
    ],
)
def test_only_a_named_test_that_found_a_wrong_value_counts(code, cases, caught, said):
    found, why = teeth.verdict(code, report(*cases))
    assert found == caught and said in why


def test_a_crash_leaves_no_report():
    assert teeth.verdict(1, "") == (False, "no test failed: errors outside of tests alone")


def test_an_unbroken_copy_must_pass_and_not_only_skip():
    assert teeth.passed(0, report(PASSING, SKIPPED))
    assert not teeth.passed(1, report(PASSING, FAILING))
    assert not teeth.passed(0, report(SKIPPED))
    assert not teeth.passed(5, "")


FAKE = teeth.Break("schedules.py", "fake", "return beta / (1 + beta)", "return beta", ("a.py",))


def run_with(monkeypatch, unbroken, broken, breaks=(FAKE,)):
    monkeypatch.setattr(teeth, "BREAKS", list(breaks))
    monkeypatch.setattr(teeth, "tried", lambda tests, each=None: broken if each else unbroken)
    return teeth.main([])


GOOD, CAUGHT = (0, report(PASSING), ""), (1, report(FAILING), "")


def test_it_ends_well_only_if_every_break_is_caught(monkeypatch, capsys):
    assert run_with(monkeypatch, GOOD, CAUGHT) == 0
    assert "caught  schedules.py, fake: tests.test_flows::test_b" in capsys.readouterr().out
    assert run_with(monkeypatch, GOOD, GOOD) == 1
    assert "1 breaks, 1 missed" in capsys.readouterr().out
    assert run_with(monkeypatch, GOOD, (2, "", "")) == 1


def test_it_stops_where_the_unbroken_package_fails_or_a_break_is_stale(monkeypatch, capsys):
    assert run_with(monkeypatch, CAUGHT, CAUGHT) == 1
    assert "though nothing is broken" in capsys.readouterr().out
    stale = teeth.Break("schedules.py", "gone", "no such line", "", ("a.py",))
    assert run_with(monkeypatch, GOOD, CAUGHT, (FAKE, stale)) == 1
    assert "STALE   schedules.py, gone" in capsys.readouterr().out
    assert run_with(monkeypatch, GOOD, CAUGHT, ()) == 1


def test_what_is_tried_is_the_broken_copy():
    """One break for real, in the quickest test there is, and the same test unbroken."""
    (each,) = (b for b in teeth.BREAKS if b.what.startswith("σ₁^(−t)"))
    assert teeth.passed(*teeth.tried(each.tests)[:2])
    assert teeth.verdict(*teeth.tried(each.tests, each)[:2]) == (
        True, "tests.test_flows::test_published_values_of_the_schedules"
    )
