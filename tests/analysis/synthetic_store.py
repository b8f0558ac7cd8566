"""Made-up run stores in the layout of docs/run_store.md, with every fault the analysis must bear.

For tests only: no number here was measured.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from suite.names import run_id_of

SOURCE = "a" * 64
FINAL = {"scratch": 88.0, "kd": 91.0, "fitnet": 90.2, "crd": 91.6, "dkd": 92.4, "dskd": 92.1}
"""Expected final accuracy of the made-up methods; others get 90."""
GAP = {"scratch": 1.0, "kd": 0.7, "fitnet": 0.35, "crd": 0.4, "dkd": 0.6, "dskd": 0.3}
"""Noise of the made-up student features; smaller is closer to the teacher."""


@dataclass
class Store:
    """A run store under construction."""

    root: Path
    experiment: str = "made_up"
    dataset: str = "digits"
    epochs: int = 30
    classes: int = 10
    splits: tuple[str, ...] = ("val", "test")
    """What runs are evaluated on."""
    entries: list[dict[str, Any]] = field(default_factory=list)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Run id -> its configuration."""
    texts: dict[str, str] = field(default_factory=dict)
    """Run id -> what its made-up numbers follow from."""

    @property
    def manifest(self) -> Path:
        return self.root / self.experiment / "manifest.json"

    def add(
        self, label: str, seed: int, pair: str = "teacher/student", **more: Any
    ) -> dict[str, Any]:
        """Expect a run; nothing is written but its place in the manifest."""
        method = more.pop("method", label.split("-")[0])
        recipe = more.pop("recipe", "digits")
        teacher, student = more.pop("models", None) or [f"net_{name}" for name in pair.split("/")]
        salt = more.pop("salt", "")
        teacher_seed = more.pop("teacher_seed", None)
        text = f"{label} {seed} {student} {recipe} {salt}" + ("" if method == "scratch" else pair)
        text += f" {teacher_seed}" if teacher_seed else ""
        taught = method != "scratch"
        config = self._config(student, method, seed, more.pop("options", {}), text=text)
        run_id = self._known(config, text)
        entry = {
            "run_id": run_id,
            "directory": f"{self.experiment}/{run_id}",
            "role": "student",
            "label": label,
            "method": method,
            "teacher": teacher if taught else None,
            "student": student,
            "pair": pair,
            "recipe": recipe,
            "seed": seed,
            "teacher_run_id": self.teacher_id(teacher, teacher_seed) if taught else None,
            "teacher_seed": teacher_seed,
            "tuned": more.pop("tuned", None),
            "chosen_on": more.pop("chosen_on", None),
        }
        self.entries.append(entry)
        return entry

    def teacher_id(self, name: str, seed: int | None = None) -> str:
        text = f"{name} {seed}" if seed else name
        return self._known(self._config(name, "scratch", seed or 0, {}), text)

    def _config(
        self, student: str, method: str, seed: int, options: dict[str, Any], **more: Any
    ) -> dict[str, Any]:
        return {
            "data": {"name": self.dataset, "train_split": "train", "train_limit": None},
            "student": {"name": student, "options": {}},
            "method": {"name": method, "options": options},
            "train": {"epochs": self.epochs, "batch_size": 64},
            "seed": seed,
            **more,
        }

    def _known(self, config: dict[str, Any], text: str) -> str:
        run_id = run_id_of(config)
        self.configs[run_id], self.texts[run_id] = config, text
        return run_id

    def add_teacher(self, name: str, recipe: str = "digits") -> dict[str, Any]:
        run_id = self.teacher_id(name)
        entry = {
            "run_id": run_id,
            "directory": f"teachers/{run_id}",
            "role": "teacher",
            "label": name,
            "method": "scratch",
            "teacher": None,
            "student": name,
            "pair": "",
            "recipe": recipe,
            "seed": 0,
            "teacher_run_id": None,
        }
        self.entries.insert(0, entry)
        return entry

    def path(self, entry: dict[str, Any]) -> Path:
        return self.root / entry["directory"]

    def start(self, entry: dict[str, Any]) -> Path:
        """Write ``config.json``."""
        folder = self.path(entry)
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "config": self.configs[entry["run_id"]],
            **{key: entry[key] for key in ("role", "label", "recipe")},
            "experiment": entry["directory"].split("/")[0],
        }
        (folder / "config.json").write_text(json.dumps(content))
        return folder

    def metrics(
        self, entry: dict[str, Any], epochs: int, final: float | None = None
    ) -> list[dict[str, Any]]:
        """Write ``metrics.jsonl`` up to an epoch; returns the rows."""
        rng = np.random.default_rng(self._number(entry))
        goal = final if final is not None else FINAL.get(entry["method"], 90.0)
        goal += 0.0 if final is not None else 0.45 * rng.standard_normal()
        rows = []
        for epoch in range(1, epochs + 1):
            done = 1 - math.exp(-5 * epoch / self.epochs)
            wobble = 0.0 if epoch == self.epochs else (1.2 - done) * rng.standard_normal()
            top1 = max(
                5.0,
                min(
                    100.0, goal * (0.25 + 0.75 * done) / (0.25 + 0.75 * (1 - math.exp(-5))) + wobble
                ),
            )
            row = {
                "epoch": epoch,
                "lr": 0.05,
                "seconds": 1.1 * epoch,
                "train/loss": 2.3 * (1 - 0.9 * done),
                "train/top1_percent": top1,
            }
            for split in self.splits:
                row |= {
                    f"{split}/top1_percent": min(100.0, top1 + (0.4 if split == "val" else 0.0)),
                    f"{split}/top5_percent": 99.0,
                    f"{split}/nll": 1.2 - done,
                }
                if entry["teacher"]:
                    row[f"{split}/agreement_percent"] = top1
            rows.append(row)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        self.start(entry)
        (self.path(entry) / "metrics.jsonl").write_text(text)
        return rows

    def finish(
        self,
        entry: dict[str, Any],
        final: float | None = None,
        source: str = SOURCE,
        features: bool = True,
        modules: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """A whole run: metrics, features and ``result.json``; returns the record."""
        rows = self.metrics(entry, self.epochs, final)

        def summary(row: dict[str, Any]) -> dict[str, Any]:
            return {
                "epoch": row["epoch"],
                **{k: v for k, v in row.items() if k.startswith(("val/", "test/"))},
            }

        teacher = entry["teacher"] and {
            "name": entry["teacher"],
            "run_id": entry["teacher_run_id"],
            "weights_sha256": self.teacher_id(entry["teacher"]) * 4,
            "test/top1_percent": 96.4,
            "val/top1_percent": 96.9,
        }
        extra = {"scratch": 0, "kd": 0, "dkd": 0}.get(entry["method"], 12_345)
        result = {
            **{
                key: entry[key]
                for key in ("run_id", "role", "label", "recipe", "method", "student", "seed")
            },
            "experiment": entry["directory"].split("/")[0],
            "dataset": self.dataset,
            "epochs": self.epochs,
            "teacher": teacher,
            "last": summary(rows[-1]),
            "best_val": summary(max(rows, key=lambda row: row["val/top1_percent"])),
            **(
                {"best_test": summary(max(rows, key=lambda row: row["test/top1_percent"]))}
                if "test" in self.splits
                else {}
            ),
            "train_seconds": rows[-1]["seconds"] * (1 + extra / 20_000),
            "packed": 1,
            "peak_memory_bytes": 512 * 2**20,
            "parameters": {
                "student": 17_000,
                "teacher": 270_000,
                "train_extra": extra,
                "deploy": 17_000,
            },
            "macs": {"student": 900_000, "teacher": 12_000_000, "deploy": 900_000},
            "weights_sha256": entry["run_id"] * 4,
            "provenance": {
                "git_commit": "0" * 40,
                "git_dirty": False,
                "source_sha256": source,
                **({} if modules is None else {"source_modules": modules}),
                "versions": {"python": "3.11.2", "torch": "2.6.0", "dskd-bench": "0.1.0"},
                "device": "cpu (made up)",
                "threads": 1,
                "hostname": "nowhere",
                "started": "2026-01-01T00:00:00+00:00",
                "finished": "2026-01-01T00:10:00+00:00",
            },
        }
        if features:
            self.features(entry)
        (self.path(entry) / "result.json").write_text(json.dumps(result))
        return result

    def features(
        self,
        entry: dict[str, Any],
        images: int = 300,
        teacher_width: int = 48,
        student_width: int = 24,
        epoch: int | None = None,
        noise: float | None = None,
    ) -> None:
        """Write ``features.npz``, or those of an epoch.

        Classes on a sphere; the student is a noisy linear image of it.
        """
        rng = np.random.default_rng(self._number(entry))
        shared = np.random.default_rng(7)  # the teacher is the same in all runs
        centres = 2.0 * shared.standard_normal((self.classes, teacher_width))
        mixing = rng.standard_normal((teacher_width, student_width)) / math.sqrt(teacher_width)
        noise = GAP.get(entry["method"], 0.6) if noise is None else noise
        arrays: dict[str, Any] = {
            "heldout_split": np.array("val"),
            "run_id": np.array(entry["run_id"]),
        }
        for split in ("train", "heldout"):
            label = shared.integers(self.classes, size=images)
            teacher = np.maximum(
                centres[label] + 0.9 * shared.standard_normal((images, teacher_width)), 0
            )
            blurred = teacher + noise * rng.standard_normal(teacher.shape)
            arrays |= {
                f"{split}/label": label,
                f"{split}/index": np.arange(images),
                f"{split}/student_pooled": (blurred @ mixing).astype(np.float32),
                f"{split}/student_logits": (blurred @ centres.T / 10).astype(np.float32),
            }
            if entry["teacher"]:
                arrays |= {
                    f"{split}/teacher_pooled": teacher.astype(np.float32),
                    f"{split}/teacher_logits": (teacher @ centres.T / 10).astype(np.float32),
                }
            if entry["method"] == "dskd":
                arrays[f"{split}/inspect/original"] = (blurred @ mixing).astype(np.float32)
                arrays[f"{split}/inspect/denoised"] = (0.9 * blurred @ mixing).astype(np.float32)
                virtual = 0.75 * teacher + 0.25 * blurred
                arrays[f"{split}/inspect/virtual_teacher"] = (virtual @ mixing).astype(np.float32)
                steps = np.linspace(2.0, 0.4, 6) + 0.3 * rng.random((images, 6))
                arrays[f"{split}/inspect/trajectory_nll"] = steps.astype(np.float32)
                if split == "heldout":
                    shares = np.linspace(0.0, 1.0, 6)[:, None, None]
                    mixed = (1 - shares) * (2 * blurred - teacher) + shares * virtual
                    trajectory = (mixed @ mixing).transpose(1, 0, 2)
                    arrays[f"{split}/inspect/trajectory"] = trajectory.astype(np.float32)
        if epoch is None:
            np.savez(self.path(entry) / "features.npz", allow_pickle=False, **arrays)
            return
        changing = ("run_id", "student_pooled", "original", "denoised", "virtual_teacher")
        arrays = {
            name: array for name, array in arrays.items() if name.rpartition("/")[2] in changing
        }
        np.savez(self.path(entry) / f"features-{epoch:04d}.npz", allow_pickle=False, **arrays)

    def fail(
        self,
        entry: dict[str, Any],
        error: str = "CUDA out of memory",
        kind: str = "OutOfMemoryError",
    ) -> None:
        """A failed run: some epochs and ``failure.json``."""
        self.metrics(entry, 3)
        failure = {
            "error": error,
            "kind": kind,
            "traceback": "...",
            "time": "2026-01-01T00:05:00+00:00",
        }
        (self.path(entry) / "failure.json").write_text(json.dumps(failure))

    def _number(self, entry: dict[str, Any]) -> int:
        return int(hashlib.sha256(self.texts[entry["run_id"]].encode()).hexdigest()[:8], 16)

    def write_manifest(self) -> Path:
        self.manifest.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "experiment": self.experiment,
            "command": f"make sweep EXP={self.experiment}",
            "note": "Made-up numbers, to test the report.",
            "dataset": self.dataset,
            "runs": self.entries,
        }
        self.manifest.write_text(json.dumps(content))
        return self.manifest


def digits(
    root: Path,
    labels: tuple[str, ...] = tuple(FINAL),
    seeds: tuple[int, ...] = (0, 1, 2),
    features: bool = True,
) -> Store:
    """What the digits sweep leaves: a teacher and every method three times, all finished."""
    store = Store(root)
    store.finish(store.add_teacher("net_teacher"), 96.4, features=False)
    for label in labels:
        for seed in seeds:
            store.finish(store.add(label, seed), features=features)
    store.write_manifest()
    return store
