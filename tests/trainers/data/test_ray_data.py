"""What Ray Data is used for, it does quietly and in order."""

import pytest

from cluster.exceptions import DataError, ResourceError, mobula_cause
from trainers.data.ray_data import quiet_context


def test_the_mistake_behind_a_failed_function_is_found(ray_cluster):
    import ray.data

    def fail(batch):
        raise DataError("rows.jsonl:3: an empty answer; fill it in")

    with quiet_context():
        rows = ray.data.range(4).map_batches(fail)
    with pytest.raises(Exception, match="UDF failed") as caught:
        rows.take_all()
    found = mobula_cause(caught.value)
    assert type(found) is DataError
    assert str(found) == "rows.jsonl:3: an empty answer; fill it in"


def test_what_is_no_mistake_of_the_user_is_left_alone():
    assert mobula_cause(ValueError("cluster.exceptions: a bug")) is None
    caused = ValueError("outer")
    caused.__cause__ = ResourceError("no disk space is left")
    assert mobula_cause(caused) is caused.__cause__


def test_rows_keep_their_order_and_the_console_stays_empty(ray_cluster, capfd):
    import ray.data

    with quiet_context():
        rows = ray.data.range(100, override_num_blocks=20).map(lambda row: {"id": row["id"] * 2})
    assert [row["id"] for row in rows.iter_rows()] == list(range(0, 200, 2))
    assert capfd.readouterr().err == ""
