"""The schema of path.csv: what users rely on, and that the docs say the same."""

from __future__ import annotations

from pathlib import Path

from thermo_pl.path.columns import COLUMNS, COMPARED, NUMBERS, SCHEMA, SECTIONS, WORDS, markdown
from thermo_pl.runs.table import RESULTS

CONTRACT = (
    "step,cycle,stroke,leg,t,lambda,gamma,R,D,C,J,C_target,C_predicted,C_lambda,C_gamma,C_t,"
    "D_lambda,D_gamma,D_t,stationarity,first_law_residual,solver_status,solver_iterations,"
    "seconds,val_C,val_accuracy"
)
RESPONSE = (
    "C_lambda,C_gamma,C_t,D_lambda,D_gamma,D_t,J_t,length,length_change,predictor_miss,rejected,"
    "solver_iterations,corrections"
)
LAW = (
    "first_law_residual,first_law_error,work,work_error,drive_work,domain_work,relaxation,"
    "relaxation_error"
)


def test_columns_hold_the_contract() -> None:
    assert set(CONTRACT.split(",")) <= set(COLUMNS)
    assert len(set(COLUMNS)) == len(COLUMNS)


def test_each_column_is_described() -> None:
    for column in SCHEMA:
        assert column.meaning, column.name
        assert "\n" not in column.meaning
    assert {*WORDS} == {"stroke", "rejection", "transition", "solver_status"}
    assert sorted(NUMBERS + WORDS) == sorted(COLUMNS)


def test_dashboards_find_columns_where_they_were() -> None:
    of = {section: [n for n in SECTIONS if SECTIONS[n] == section] for section in ("law", "thermo")}
    assert of["law"] == LAW.split(",")
    assert [n for n in SECTIONS if SECTIONS[n] == "response"] == RESPONSE.split(",")
    assert {"R", "C_error", "C_control", "stationarity", "seconds", "val_C"} <= set(of["thermo"])


def test_compare_shows_the_columns_that_ask_for_it_in_this_order() -> None:
    order = [name for name in RESULTS if name in {column.name for column in COMPARED}]
    first = ["t", "lambda", "gamma", "R", "D", "C", "latents_in_use", "C_target", "stationarity"]
    assert order == [*first, "val_C", "val_accuracy"]
    assert RESULTS["stationarity"].endswith("(nats)")


def test_the_docs_have_the_table_of_the_schema() -> None:
    docs = Path(__file__).parents[2] / "docs" / "runs.md"
    assert markdown() in docs.read_text(encoding="utf-8"), (
        "put what thermo_pl.path.columns.markdown() gives into docs/runs.md"
    )
