import json
import subprocess
import sys


def modules_after(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after a statement."""
    code = f"{statement}; import sys, json; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {name.partition(".")[0] for name in json.loads(out.stdout)}


def test_the_package_does_not_import_ray() -> None:
    assert "ray" not in modules_after("import serve_app")


def test_the_app_imports_without_the_engine() -> None:
    heavy = {"torch", "ctranslate2", "faster_whisper", "onnxruntime", "pyannote"}
    assert heavy.isdisjoint(modules_after("import serve_app.app"))
