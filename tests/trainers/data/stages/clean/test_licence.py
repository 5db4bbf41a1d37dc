"""Which rows may be used."""

import pytest

from tests.trainers.data.stages.clean.rows import one


def refused(values, **settings):
    return one({"text": "Hi", "columns": values}, kind="licence", **settings).rejected


@pytest.mark.parametrize(
    "name", ["CC BY-NC 4.0", "cc_by_nc_sa", "CC-BY-ND-3.0", "Proprietary", "unknown", ["mit", "cc-by-nc-4.0"]]
)
def test_licences_that_forbid_use_are_refused_without_settings(name):
    assert "is refused" in refused({"license": name})


@pytest.mark.parametrize("name", ["MIT", "Apache-2.0", "CC BY-SA 4.0", "cc0-1.0", "ODC-By", ["mit", "cc-by-4.0"]])
def test_open_licences_pass_and_are_noted(name):
    record = one({"text": "Hi", "columns": {"licence": name}}, kind="licence")
    assert record.rejected is None and record.notes["licence"]


def test_a_row_without_a_licence_is_rejected_unless_accepted():
    for columns in ({}, {"license": None}, {"license": " "}, {"license": []}):
        assert refused(columns) == "licence: no licence is named (in license or licence)"
        assert refused(columns, missing="accept") is None


def test_lists_of_ones_own_decide():
    assert refused({"rights": "mit"}, columns=["rights"], refuse=["MIT"]) == "licence: licence mit is refused"
    assert (
        refused({"license": "gpl-3.0"}, allow=["mit", "apache-*"])
        == "licence: licence gpl-3.0 is not among those allowed"
    )
    assert refused({"license": "Apache 2.0"}, allow=["mit", "apache"]) is None


@pytest.mark.parametrize(
    ("consent", "given"),
    [(True, True), ("Yes", True), ("opt-in", True), (1, True), (None, False), (False, False), ("withdrawn", False)],
)
def test_consent_counts_only_when_it_says_yes(consent, given):
    columns = {"license": "mit", "consent": consent}
    assert (refused(columns, require_consent=True) is None) == given
    assert refused(columns) is None
