from pathlib import Path

from huggingface_hub import ModelCard, scan_cache_dir, snapshot_download

from benchmarks.hub_cache import MODEL_ID, write_hub_cache


def test_the_cache_is_what_hugging_faces_library_reads_offline(tmp_path: Path) -> None:
    snapshot = write_hub_cache(tmp_path)
    write_hub_cache(tmp_path)  # again, over what is there
    assert Path(snapshot_download(MODEL_ID, cache_dir=tmp_path, local_files_only=True)) == snapshot
    [repository] = scan_cache_dir(tmp_path).repos
    assert repository.repo_id == MODEL_ID
    assert {"model.bin", "tokenizer.json", "preprocessor_config.json"} <= {
        path.name for path in snapshot.iterdir()
    }


def test_the_card_says_that_it_is_whisper_for_ctranslate2(tmp_path: Path) -> None:
    card = ModelCard.load(write_hub_cache(tmp_path) / "README.md")
    assert card.data.library_name == "ctranslate2"
    assert card.data.pipeline_tag == "automatic-speech-recognition"
