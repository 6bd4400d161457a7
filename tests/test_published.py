"""Properties of the numbers that others published (t2s/report/reference_results.csv)."""

from __future__ import annotations

import pandas as pd
import pytest

from t2s.report import tables

SUITES = {
    "LIBERO-Spatial",
    "LIBERO-Object",
    "LIBERO-Goal",
    "LIBERO-Long",
    "LIBERO-Spatial, 5 tasks",
    "LIBERO-Object, 5 tasks",
    "LIBERO-Long, 5 tasks",
    "LIBERO-40",
    "LIBERO-100, three skills of 2 to 4 tasks",
    "10 tasks of LIBERO, not named",
    "mean of three LIBERO suites, not named",
}
METRICS = {"FWT", "NBT", "AUC", "success", "new token share"}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return tables.read_published()


def test_numbers_are_fractions_and_only_nbt_is_negative(rows: pd.DataFrame) -> None:
    assert rows.value.where(rows.metric != "NBT", rows.value.abs()).between(0, 1).all()
    assert rows.error.dropna().between(0, 1).all()


def test_suites_and_metrics_have_one_spelling(rows: pd.DataFrame) -> None:
    assert set(rows.suite) == SUITES
    assert set(rows.metric) == METRICS


def test_every_number_names_a_method_a_definition_and_a_source(rows: pd.DataFrame) -> None:
    text = rows.drop(columns=["value", "error"])
    assert text.notna().all().all()
    assert (text == text.apply(lambda column: column.str.strip())).all().all()
    assert rows.source.str.contains(r"arXiv \d{4}\.\d{5}").all()


def test_no_number_is_given_twice(rows: pd.DataFrame) -> None:
    key = ["method", "architecture", "suite", "metric", "definition"]
    assert not rows.duplicated(key).any()
    assert not rows.duplicated(["method", "architecture", "suite", "metric", "source"]).any()


def test_numbers_of_one_source_stand_together(rows: pd.DataFrame) -> None:
    assert (rows.source != rows.source.shift()).sum() == rows.source.nunique()


def test_the_table_shows_every_number(rows: pd.DataFrame) -> None:
    suites = list(tables.SUITES)
    shown = tables.published(rows, suites)[[name[:1].upper() + name[1:] for name in METRICS]]
    of_suites = rows.suite.isin(tables.SUITES.values()) | (rows.method == "T2S")
    assert (shown != tables.DASH).sum().sum() == of_suites.sum()


def test_fwt_says_whether_it_is_of_the_learning_curve_or_of_its_end(rows: pd.DataFrame) -> None:
    fwt = rows[rows.metric == "FWT"].definition
    curve, learned = fwt.str.contains("FWT: mean over"), fwt.str.contains("FWT: success")
    assert curve.any()
    assert learned.any()
    assert not (curve & learned).any()
    assert fwt[~curve & ~learned].str.contains("^not given|FWT(?:, NBT, AUC)?: not given").all()


def test_the_three_numbers_of_the_abstract_of_t2s_are_there(rows: pd.DataFrame) -> None:
    ours = rows[rows.method == "T2S"]
    assert ours.set_index("metric").value.to_dict() == {"FWT": 0.777, "NBT": 0.01, "new token share": 0.08}
    assert ours.source.eq("T2S, arXiv 2508.01167, abstract").all()


def test_clare_is_on_libero_long(rows: pd.DataFrame) -> None:
    clare = rows[(rows.method == "CLARE") & (rows.suite == "LIBERO-Long")]
    assert clare.set_index("metric").value.to_dict() == {"FWT": 0.75, "NBT": 0.019, "AUC": 0.751}
    assert not rows.suite.str.contains("presumed").any()
