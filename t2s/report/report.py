"""Write the page to open first: headline, tables, figures, films, and what was reconstructed.

Reads, in a folder of results: metrics.json, tasks.csv, provenance.json, episodes/, tables/, figures/, films/.
Writes: report.html, with every picture inside. With --summary, prints the headline and writes nothing.
"""

from __future__ import annotations

import argparse
import base64
import html
import json
from pathlib import Path
from typing import Any, Final

import jinja2
import pandas as pd
import yaml

from t2s import params
from t2s.data import results
from t2s.data.files import Fields, check_fields, read_json, read_text, remedy, write_text

SUMMARY: Final = {
    "fwt": "FWT",
    "nbt": "NBT",
    "auc": "AUC",
    "new_token_share": "new tokens",
    "new_parameter_share": "trained parameters",
}
"""The metrics that the summary prints and the page shows at the top."""

CAPTIONS: Final = {
    "success_matrix": "Success on each task after learning each task.",
    "scores": "FWT, AUC (higher is better) and NBT (lower is better), with intervals for other episodes of the same"
    " policies.",
    "learning_curves": "Success while a task is learned, with Wilson intervals. FWT is the mean of"
    " this curve, held at its peak.",
    "forgetting": "Success on a task while later tasks are learned, with Wilson intervals.",
    "tokens": "Tokens in the bank after each task, against growing by the base with every task.",
    "language": "Cosine similarity of the instructions, and the earlier tasks whose tokens act: those that the rule"
    " chose (dark), and those that came along, as the base always does (light). First seed.",
    "losses": "Training loss of every task, mean over seeds.",
}
"""The figures, in their order on the page."""

FILM: Final[Fields] = {"instruction": str, "success": bool, "n_steps": int}
CODE: Final[Fields] = {"commit": str | None, "changed": list, "sha256": str}
MACHINE: Final[Fields] = {"cpu": str, "n_cpus": int | None, "gpus": list, "python": str, "platform": str}

TABLES: Final = ("headline", "differences", "metrics", "success", "tasks", "cost", "published")
"""The tables, in their order on the page. The differences need several methods."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument("--params", default="params.yaml", help="params file, YAML or JSON")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results")
    parser.add_argument("--out", type=Path, default=Path("results/report.html"), help="HTML file to write")
    parser.add_argument("--summary", action="store_true", help="print the headline and write nothing")


def main(args: argparse.Namespace) -> None:
    """Write the page, or print the summary."""
    summary = read_summary(args.results)
    if args.summary:
        print(as_text(summary, args.out))
    else:
        write_text(args.out, page(args.results, summary, params.read(args.params)))


def read_summary(folder: Path) -> dict[str, dict[str, Any]]:
    """The content of metrics.json, with suites and methods in the order of the study, but the mean over suites first.

    Raises: ValueError if the workflow has not written it yet.
    """
    tasks = results.tasks(folder)
    methods = list(tasks.method.unique())
    summary = results.summary(folder, tasks.suite.unique(), methods)
    suites = [*([params.MEAN] if params.MEAN in summary else []), *tasks.suite.unique()]
    return {suite: {method: summary[suite][method] for method in methods} for suite in suites}


def as_text(summary: dict[str, dict[str, Any]], out: Path) -> str:
    """The headline numbers as a text table, and where the page is."""
    rows = [
        {"suite": suite, "method": method} | short(values)
        for suite, methods in summary.items()
        for method, values in methods.items()
    ]
    table = pd.DataFrame(rows).to_string(index=False)
    return f"{table}\n\nreport: {out.resolve().as_uri()}"


def short(values: dict[str, Any]) -> dict[str, str]:
    """The summary's numbers of one method in %, with a dash for a metric that does not apply."""
    return {title: f"{100 * values[name]['mean']:.1f} %" if name in values else "–" for name, title in SUMMARY.items()}


def page(folder: Path, summary: dict[str, dict[str, Any]], sections: dict[str, Any]) -> str:
    """The page, as HTML that needs no other file."""
    template = Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    n_tasks = results.tasks(folder).task.nunique()
    of_tasks = f"{n_tasks} task{'' if n_tasks == 1 else 's'}"
    suites = [
        {
            "name": suite,
            "title": "mean over the suites" if suite == params.MEAN else f"{suite}: {of_tasks}",
            "methods": {method: short(values) for method, values in methods.items()},
            "figures": figures(folder / "figures" / suite),
            "films": films(folder / "films" / suite, list(methods)),
        }
        for suite, methods in summary.items()
    ]
    several = len(suites[0]["methods"]) > 1
    tables = [name for name in TABLES if several or name != "differences"]
    return environment.from_string(template).render(
        suites=suites,
        tables={name: table(folder / "tables" / f"{name}.md") for name in tables},
        versions=versions(folder, params.Study.model_validate(sections["study"])),
        provenance=provenance(folder / "provenance.json"),
        params=yaml.safe_dump(sections, sort_keys=False),
    )


def figures(folder: Path) -> list[dict[str, str]]:
    """Name, caption and picture of every figure that was drawn."""
    return [
        {"name": name, "caption": caption, "image": embed(folder / f"{name}.png", "image/png")}
        for name, caption in CAPTIONS.items()
        if (folder / f"{name}.png").is_file()
    ]


def films(folder: Path, methods: list[str]) -> list[dict[str, Any]]:
    """The films of every method below `folder`, in the order of the tasks."""
    found = []
    for index in [path for m in methods for path in sorted(folder.glob(f"{m}/seed*/films.json"))]:
        shots = [
            check_fields(facts, FILM, f"{index}: {name}", remedy(index))
            | {"task": int(name.removeprefix("task")) + 1, "image": _gif(index, name)}
            for name, facts in read_json(index).items()
        ]
        shots.sort(key=lambda shot: shot["task"])
        method, seed = index.parts[-3], index.parts[-2].removeprefix("seed")
        found.append({"method": method, "seed": seed, "shots": shots})
    return found


def _gif(index: Path, name: str) -> str:
    return embed(index.with_name(f"{name}.gif"), "image/gif")


def embed(path: Path, kind: str) -> str:
    """The file as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def table(path: Path) -> dict[str, Any]:
    """Title, header, rows and notes of a table that `t2s tables` wrote as Markdown."""
    lines = read_text(path).splitlines()
    cells = [_cells(line) for line in lines if line.startswith("|")]
    if not cells:
        raise ValueError(f"{path}: expected a table, got none; {remedy(path)}")
    notes = [line.strip() for line in lines if line and line[0] not in "|#"]
    return {
        "title": lines[0].removeprefix("### "),
        "header": cells[0],
        "rows": cells[2:],
        "notes": notes,
    }


def _cells(line: str) -> list[str]:
    return [html.unescape(cell.strip()) for cell in line.strip().strip("|").split("|")]


def versions(folder: Path, study: params.Study) -> list[dict[str, str]]:
    """The different versions that the episodes were rolled out with."""
    found = {json.dumps(v, sort_keys=True) for v in results.episodes(folder, study).versions}
    return [json.loads(text) for text in sorted(found)]


def provenance(path: Path) -> dict[str, Any] | None:
    """Code and machine in one line each, and everything but the params as YAML; None without provenance.json."""
    if not path.is_file():
        return None
    found = read_json(path, {"code": dict, "machine": dict})
    code = check_fields(found["code"], CODE, f"{path}: code", remedy(path))
    machine = check_fields(found["machine"], MACHINE, f"{path}: machine", remedy(path))
    commit = f"commit {code['commit']}" if code["commit"] else "no commit, because there was no git"
    changed = f", with changes in {', '.join(code['changed'])}" if code["changed"] else ""
    return {
        "code": f"{commit}{changed}; digest of the code that affects numbers {code['sha256'][:12]}",
        "machine": ", ".join(
            [
                machine["cpu"],
                f"{machine['n_cpus']} CPUs",
                *machine["gpus"],
                f"Python {machine['python']}",
                machine["platform"],
            ]
        ),
        "all": yaml.safe_dump({name: facts for name, facts in found.items() if name != "params"}, width=120),
    }
