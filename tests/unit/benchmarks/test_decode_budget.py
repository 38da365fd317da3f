from dataclasses import asdict
from itertools import pairwise

from benchmarks.decode_budget import BATCH, SMALLER, ladder, table


def test_each_step_keeps_what_the_steps_before_it_changed() -> None:
    budgets = [asdict(budget) for budget in ladder().values()]
    assert (budgets[0]["beam_size"], budgets[0]["timestamps"], budgets[0]["batch"]) == (5, True, 1)
    changes = [
        {key for key in later if later[key] != before[key]} for before, later in pairwise(budgets)
    ]
    assert changes == [
        *({"beam_size"}, {"timestamps"}, {"tokens_per_s"}, {"compute_type"}, {"shape"}, {"batch"}),
    ]
    assert (budgets[-1]["beam_size"], budgets[-1]["timestamps"]) == (1, False)
    assert (budgets[-1]["compute_type"], budgets[-1]["batch"]) == ("int8", BATCH)


def test_the_table_has_a_line_for_each_step_and_dashes_where_there_is_no_figure() -> None:
    lines = table(
        [
            {"step": "greedy", "demo_s": {"median": 1.234}, "word_error_rate": 0.0125},
            {"step": SMALLER, "random_s": {"median": 2.0}, "random_times_first": 0.25},
        ]
    ).splitlines()
    assert lines[2] == "| greedy | 1.23 | - | - | 1.2% | - | - | - |"
    assert lines[3] == f"| {SMALLER} | - | - | - | - | - | 2.00 | 0.25 x |"
    assert {line.count("|") for line in lines} == {9}
