"""transformers on the same device: a model of the same shape with random weights."""

from collections.abc import Iterator
from typing import Any

from benchmarks.gpu.budget import Deadline
from benchmarks.gpu.engine import MS, Row
from benchmarks.gpu.plan import Plan
from benchmarks.local import N_TOKENS
from benchmarks.random_model import N_AUDIO_POSITIONS, SHAPES, Shape
from benchmarks.results import seconds

N_FRAMES = 2 * N_AUDIO_POSITIONS
SPECIAL = {"large-v3": 51866, "large-v3-turbo": 51866, "distil-large-v3": 51866}
N_TOKENS_OF_OTHERS = 51865
ROUNDS = 2


def transformers_batches(plan: Plan, deadline: Deadline) -> Iterator[Row]:
    """Measure the fast and the large model: encode alone, and 64 tokens of greedy search."""
    try:
        import torch
        import transformers
    except ImportError as error:
        yield {"left_out": str(error)}
        return
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    for name in dict.fromkeys((plan.fast, plan.large)):
        model = _model(name, plan)
        took_s = 0.0
        for batch in plan.batches[1:-1] or plan.batches:
            head = {"model": name, "batch": batch, **versions}
            if not deadline.has(3 * took_s * (1 + ROUNDS)):
                yield {**head, "left_out": "no time"}
                continue
            row = _measure(model, SHAPES[name], batch)
            took_s = row["batch_s"]
            yield {**head, **row}


def _model(name: str, plan: Plan) -> Any:
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    shape = SHAPES[name]
    config = WhisperConfig(
        vocab_size=SPECIAL.get(name, N_TOKENS_OF_OTHERS),
        num_mel_bins=shape.n_mels,
        d_model=shape.width,
        encoder_layers=shape.n_encoder_layers,
        decoder_layers=shape.n_decoder_layers,
        encoder_attention_heads=shape.n_heads,
        decoder_attention_heads=shape.n_heads,
        encoder_ffn_dim=4 * shape.width,
        decoder_ffn_dim=4 * shape.width,
    )
    number = torch.float16 if plan.device == "cuda" else torch.float32
    with torch.device(plan.device):
        model: Any = WhisperForConditionalGeneration._from_config(
            config, dtype=number, attn_implementation="sdpa"
        )
    return model.eval()


def _measure(model: Any, shape: Shape, batch: int) -> dict[str, Any]:
    import torch

    features = torch.randn((batch, shape.n_mels, N_FRAMES), dtype=model.dtype, device=model.device)

    def wait() -> None:
        if model.device.type == "cuda":
            torch.cuda.synchronize()

    def encode() -> None:
        model.get_encoder()(features)
        wait()

    def generate() -> Any:
        made = model.generate(
            features, do_sample=False, min_new_tokens=N_TOKENS, max_new_tokens=N_TOKENS
        )
        wait()
        return made

    with torch.inference_mode():
        encode()
        encode_s = min(seconds(encode) for _ in range(ROUNDS))
        n_tokens = generate().shape[-1]
        batch_s = min(seconds(generate) for _ in range(ROUNDS))
    return {
        "tokens_per_window": n_tokens,
        "batch_s": batch_s,
        "encode_ms_per_window": encode_s / batch * MS,
        "windows_per_s_on_device": batch / batch_s,
    }
