"""Settings as MLflow's parameters."""

from pipeline.tracking.texts import flatten


def test_a_password_in_a_uri_is_not_logged() -> None:
    flat = flatten({"run": {"tracking_uri": "https://me:secret@host/mlflow", "other": ["http://a:b@c"]}})
    assert flat == {"run.tracking_uri": "https://***@host/mlflow", "run.other": '["http://***@c"]'}
