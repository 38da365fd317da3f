from serve_app.resources import actor_options
from serve_app.settings import AppSettings


def options(**args: object) -> dict[str, dict[str, object]]:
    return actor_options(AppSettings.model_validate(args))


def test_there_is_a_deployment_for_each_model_and_for_speakers_where_they_are_told_apart() -> None:
    models = [{"name": name, "source": "turbo"} for name in ("a", "b")]
    names = ["Ingress", "AudioPreprocessor", "WhisperTranscriber-a", "WhisperTranscriber-b"]
    assert list(options(models=models)) == names
    assert list(options(models=models, diarization={})) == [*names, "SpeakerDiarizer"]


def test_a_model_on_a_gpu_takes_one_and_others_huge_pages() -> None:
    assert options(model="a", device="cuda")["WhisperTranscriber-a"]["num_gpus"] == 1
    assert "num_gpus" not in options(model="a")["WhisperTranscriber-a"]
    assert "runtime_env" in options(model="a", device="cpu")["WhisperTranscriber-a"]


def test_the_demo_model_fits_two_cores_with_everything() -> None:
    assert sum(float(str(one["num_cpus"])) for one in options().values()) == 2
