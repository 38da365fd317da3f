import sys
from pathlib import Path

import pytest

from serve_app.models import locate_model
from serve_app.settings import EMBEDDED, ModelSettings
from serve_app.stages.whisper import device
from serve_app.stages.whisper.device import (
    ModelShape,
    Placement,
    bytes_per_chunk,
    choose_placement,
    default_batch,
    free_cuda_bytes,
    largest_batch,
    read_shape,
)

LARGE_V3 = ModelShape(width=1280, n_decoder_layers=32)
TURBO = ModelShape(width=1280, n_decoder_layers=4)
GPU_TYPES = ("float32", "float16", "int8_float16", "int8")
GIB = 2**30


def choose(n_cuda: int, types: tuple[str, ...], **settings: object) -> Placement:
    model = ModelSettings(name="m", source="s", **settings)  # type: ignore[arg-type]
    return choose_placement(model, n_cuda_devices=n_cuda, compute_types=lambda _: types, n_cores=8)


def test_a_gpu_is_used_with_float16_where_there_is_one() -> None:
    placement = choose(1, GPU_TYPES)
    assert (placement.device, placement.compute_type) == ("cuda", "float16")


def test_a_cpu_uses_int8_and_all_its_cores() -> None:
    placement = choose(0, ("float32", "int8"))
    assert placement == Placement(device="cpu", compute_type="int8", n_threads=8)


def test_workers_share_the_cores() -> None:
    assert choose(0, ("int8",), n_workers=3).n_threads == 2


def test_a_cpu_without_int8_uses_float32() -> None:
    assert choose(0, ("float32",)).compute_type == "float32"


def test_explicit_settings_win() -> None:
    placement = choose(1, GPU_TYPES, device="cpu", compute_type="float32", cpu_threads=3)
    assert placement == Placement(device="cpu", compute_type="float32", n_threads=3)


def test_a_number_type_that_the_device_does_not_have_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(ValueError, match=r"this cpu cannot compute in int16.* float32, int8"):
        choose(0, ("int8", "float32"), compute_type="int16")
    assert choose(0, ("float32",), compute_type="default").compute_type == "default"


def test_cross_attention_memory_of_large_v3_is_246_mb_a_chunk() -> None:
    cross_attention = 2 * 32 * 1500 * 1280 * 2
    assert cross_attention == pytest.approx(246e6, rel=0.01)
    assert bytes_per_chunk(LARGE_V3, beam_size=1) > cross_attention


def test_a_batch_is_cut_to_what_fits_beside_the_other_workers() -> None:
    def fits(shape: ModelShape, free_gib: int, n_workers: int = 1, beam_size: int = 1) -> int:
        return largest_batch(
            *(256, shape),
            free_bytes=free_gib * GIB,
            beam_size=beam_size,
            n_workers=n_workers,
        )

    assert fits(TURBO, 75) == 256
    assert fits(LARGE_V3, 9) < 32
    assert fits(LARGE_V3, 75) < 256
    assert fits(LARGE_V3, 75, n_workers=2) <= fits(LARGE_V3, 75) // 2
    assert fits(LARGE_V3, 75, beam_size=5) < fits(LARGE_V3, 75)
    assert fits(LARGE_V3, 0) == 1


def test_without_a_wish_a_gpu_gets_large_batches_and_a_cpu_small_ones() -> None:
    assert default_batch("cuda") > default_batch("cpu") >= 1


def test_where_the_free_memory_is_not_known_the_wish_stands() -> None:
    assert largest_batch(192, LARGE_V3, free_bytes=None, beam_size=1, n_workers=1) == 192


def plant_nvidia_smi(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a script in the place of nvidia-smi, of a process that sees the devices 3 and 4."""
    tool = folder / "nvidia-smi"
    tool.write_text(script)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")


@pytest.mark.parametrize(
    ("said", "free"), [("81000", 81000 * 2**20), ("[N/A]", None), ("", None)], ids=repr
)
def test_free_memory_is_what_the_driver_says_of_the_visible_device(
    said: str, free: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_nvidia_smi(f'#!/bin/sh\n[ "$1" = "--id=3" ] && echo "{said}"\n', tmp_path, monkeypatch)
    assert free_cuda_bytes() == free
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert free_cuda_bytes() is None


def test_a_driver_that_hangs_leaves_the_free_memory_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"#!{sys.executable}\nimport time\ntime.sleep(60)\n"
    plant_nvidia_smi(script, tmp_path, monkeypatch)
    monkeypatch.setattr(device, "_NVIDIA_SMI_S", 0.2)
    assert free_cuda_bytes() is None


def test_a_models_sizes_are_read_from_its_file() -> None:
    assert read_shape(locate_model(EMBEDDED)) == ModelShape(width=192, n_decoder_layers=2)


def test_another_file_is_not_taken_for_a_model(tmp_path: Path) -> None:
    spec = b"TransformerSpec\0"
    header = (6).to_bytes(4, "little") + len(spec).to_bytes(2, "little") + spec + bytes(8)
    (tmp_path / "model.bin").write_bytes(header)
    with pytest.raises(ValueError, match="TransformerSpec"):
        read_shape(tmp_path)


@pytest.mark.parametrize("n_bytes", [0, 3, 30, 200])
def test_a_file_that_ends_early_is_told(n_bytes: int, tmp_path: Path) -> None:
    whole = (locate_model(EMBEDDED) / "model.bin").read_bytes()
    (tmp_path / "model.bin").write_bytes(whole[:n_bytes])
    with pytest.raises(ValueError, match="ends early"):
        read_shape(tmp_path)
