"""What is measured, in the long form and the short."""

from __future__ import annotations

from benchmarks.jobs import FULL, JOBS, QUICK


def test_both_forms_name_jobs_that_there_are_and_end_in_time() -> None:
    assert set(QUICK.without) | set(FULL.without) <= set(JOBS)
    assert QUICK.limit < 180
    assert FULL.limit < 2_400
    assert max(FULL.present) < FULL.tokens
    for form in (QUICK, FULL):
        assert form.warm + form.opens * 2 <= form.lap_tokens <= form.tokens
