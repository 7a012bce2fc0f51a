"""``hpo-job init`` writes a study of the user's data that reads it, and says what it saw."""

from __future__ import annotations

import gzip
import random
import re
import runpy
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from hpo_job.spec.metrics import METRICS
from hpo_job.spec.reading import read_spec
from hpo_job.spec.study_toml import StudySpec
from hpo_job.study.checking import check_spec, read_data
from tests import ROOT

Cli = Callable[..., Result]
Refused = Callable[..., str]
WORDS = {
    "de": "der alte Mann ging mit dem Hund an den Fluss und es war nicht spät",
    "en": "the prisoner was indicted for stealing a watch from the house of his master",
}


def read(folder: str | Path) -> StudySpec:
    """The study of a job that init wrote, with its names and its data looked up."""
    spec = read_spec(folder)
    check_spec(spec)
    assert read_data(spec) is not None
    return spec


def text_table(file: Path, language: str, rows: int = 60) -> Path:
    draw = random.Random(0)
    lines = ["nummer,inhalt,klasse"]
    for row in range(rows):
        words = draw.choices(WORDS[language].split(), k=12)
        lines.append(f"{row},{' '.join(words)},{'Brief' if row % 3 else 'Rede'}")
    lines += [lines[1]] * 3  # copies
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def table(file: Path, header: str, *rows: str, times: int = 20) -> Path:
    file.write_text("\n".join([header, *rows * times]) + "\n", encoding="utf-8")
    return file


def page_table(folder: Path, images: Callable[..., Path]) -> Path:
    """A table that names 24 images, four of each book."""
    images({"scans": 24})
    rows = [f"images/scans/{n:04}.png,{n // 4},{('map', 'text')[n % 2]}" for n in range(24)]
    return table(folder / "pages.csv", "file,book,kind", *rows, times=1)


# What is written reads the data


def test_images(cli: Cli, image_folder: Path) -> None:
    done = cli("init", "pets", "--data", image_folder)
    assert done.exit_code == 0, done.output
    assert "data          " in done.stdout
    assert "20 images in 2 classes" in done.stdout
    assert "sizes         8 x 8 pixels in the middle" in done.stdout
    assert "formats       20 png" in done.stdout
    assert "wrote         pets/study.toml" in done.stdout
    assert "check pets" in done.stdout
    spec = read("pets")
    assert (spec.name, spec.objective, spec.metric) == ("pets", "image_classification", "accuracy")
    assert spec.data is not None
    assert spec.data.path == "../images"
    assert spec.search_space["image_size"] == 32


def test_uneven_classes_are_scored_and_trained_evenly(
    cli: Cli, images: Callable[..., Path]
) -> None:
    assert cli("init", "rare", "--data", images({"common": 30, "rare": 5})).exit_code == 0
    spec = read("rare")
    assert spec.metric == "f1_macro"
    assert "balance" in spec.search_space


def test_classes_of_one_image_are_merged(cli: Cli, images: Callable[..., Path]) -> None:
    folder = images({"cats": 9, "dogs": 8, "emu": 1, "yak": 1})
    done = cli("init", "zoo", "--data", folder)
    assert done.exit_code == 0, done.output
    assert "merged        classes of one item, into 'other': 'emu', 'yak'" in done.stdout
    data = read_data(read("zoo"))
    assert data is not None
    assert data.counts == {"cats": 9, "dogs": 8, "other": 2}


def test_parts_that_the_folders_name(cli: Cli, tmp_path: Path) -> None:
    for part in ("train", "valid"):
        for shade, name in enumerate(("cats", "dogs")):
            folder = tmp_path / "given" / part / name
            folder.mkdir(parents=True)
            for number in range(3):
                Image.new("L", (40, 50), 90 * shade + number).save(folder / f"{number}.png")
    assert cli("init", "given-parts", "--data", "given").exit_code == 0
    assert "valid_pct" not in Path("given-parts/study.toml").read_text()
    data = read_data(read("given-parts"))
    assert data is not None
    assert len(data.valid) == 6


def test_images_that_a_table_names(cli: Cli, tmp_path: Path, images: Callable[..., Path]) -> None:
    page_table(tmp_path, images)
    done = cli("init", "pages", "--data", "pages.csv", "--label", "kind")
    assert done.exit_code == 0, done.output
    assert "guessed       'file' is the column of image files" in done.stdout
    assert '# group = "book"' in Path("pages/study.toml").read_text()
    spec = read("pages")
    assert (spec.objective, spec.data and spec.data.image) == ("image_classification", "file")


def shapes(
    folder: Path, images: Callable[..., Path], header: str, cell: Callable[[int], str]
) -> Path:
    """A table of 24 images with further columns."""
    images({"scans": 24})
    rows = [f"images/scans/{n:04}.png,{cell(n)}" for n in range(24)]
    return table(folder / "shapes.csv", f"file,{header}", *rows, times=1)


SETS = ("disc", "disc;box", "box", "", "box;line", "line")


@pytest.mark.parametrize(
    ("header", "cell", "label", "delimiter"),
    [
        ("marks", lambda n: SETS[n % 6], "marks", ";"),
        ("marks,size", lambda n: f"{SETS[n % 6].replace(';', '|')},{n}.5", "marks", "|"),
        ("marks", lambda n: SETS[n % 6].replace(";", " "), "marks", " "),
        ("disc,box", lambda n: f"{n % 2},{int(n % 3 > 0)}", ("disc", "box"), None),
    ],
)
def test_images_with_several_labels(
    cli: Cli,
    tmp_path: Path,
    images: Callable[..., Path],
    header: str,
    cell: Callable[[int], str],
    label: object,
    delimiter: str | None,
) -> None:
    shapes(tmp_path, images, header, cell)
    done = cli("init", "marks", "--data", "shapes.csv")
    assert done.exit_code == 0, done.output
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    spec = read("marks")
    assert (spec.objective, spec.metric) == ("image_multilabel", "f1_macro")
    assert spec.data is not None
    assert (spec.data.label, spec.data.label_delim) == (label, delimiter)
    assert "threshold" in spec.search_space
    data = read_data(spec)
    assert data is not None
    assert data.targets[data.valid].any(axis=0).all()


def test_images_with_several_rows_each(
    cli: Cli, tmp_path: Path, images: Callable[..., Path]
) -> None:
    images({"scans": 12})
    rows = [f"images/scans/{n // 2:04}.png,{'abc'[n % 3]}" for n in range(24)]
    table(tmp_path / "long.csv", "file,label", *rows, times=1)
    assert cli("init", "long", "--data", "long.csv").exit_code == 0
    assert read("long").objective == "image_multilabel"


def test_images_with_a_number(cli: Cli, tmp_path: Path, images: Callable[..., Path]) -> None:
    shapes(tmp_path, images, "size", lambda n: f"{n * 1.5}")
    done = cli("init", "sizes", "--data", "shapes.csv")
    assert done.exit_code == 0, done.output
    spec = read("sizes")
    assert (spec.objective, spec.metric) == ("image_regression", "rmse")
    assert "target        size: 0 to 34.5" in done.stdout


@pytest.mark.parametrize(
    ("objective", "label"), [("image_regression", "age"), ("image_classification", "smiling")]
)
def test_an_objective_of_one_label_gets_one_column(
    cli: Cli, tmp_path: Path, images: Callable[..., Path], objective: str, label: str
) -> None:
    shapes(tmp_path, images, "age,male,smiling", lambda n: f"{n * 1.5},{n % 2},{int(n % 3 > 0)}")
    done = cli("init", "faces", "--data", "shapes.csv", "--objective", objective)
    assert done.exit_code == 0, done.output
    spec = read("faces")
    assert (spec.objective, spec.data and spec.data.label) == (objective, label)


def test_a_column_called_label_goes_before_commas_in_another(
    cli: Cli, tmp_path: Path, images: Callable[..., Path]
) -> None:
    authors = ('"Smith, John"', '"Smith, Jane"', '"Doe, John"', '"Doe, Jane"', "John", "Doe")
    shapes(tmp_path, images, "label,author", lambda n: f"{'uv'[n % 2]},{authors[n // 4]}")
    done = cli("init", "pages", "--data", "shapes.csv")
    assert done.exit_code == 0, done.output
    spec = read("pages")
    assert (spec.objective, spec.data and spec.data.label) == ("image_classification", "label")


@pytest.mark.parametrize(
    ("objective", "problem"),
    [
        ("image_classification", "no column of t.csv names image files"),
        ("image_multilabel", "no column of t.csv names image files"),
        ("image_regression", "no column of t.csv names image files"),
        ("text_classification", "no column of t.csv looks like texts; name it with --text: a, b"),
    ],
)
def test_an_objective_that_does_not_fit_a_table(
    refused: Refused, tmp_path: Path, objective: str, problem: str
) -> None:
    table(tmp_path / "t.csv", "a,b,label", "1,x,u", "2,y,v")
    assert problem in refused("init", "x", "--data", "t.csv", "--objective", objective)


def test_an_objective_that_does_not_fit_a_folder(
    refused: Refused, tmp_path: Path, image_folder: Path
) -> None:
    line = refused(
        "init", "x", "--data", text_folder(tmp_path / "t"), "--objective", "image_classification"
    )
    assert "a folder of texts; use text_classification" in line
    line = refused("init", "x", "--data", image_folder, "--objective", "image_multilabel")
    assert "a folder of images; use image_classification" in line


def text_folder(root: Path, *parts: str) -> Path:
    """A folder of German letters and speeches, 12 of each in each part."""
    draw = random.Random(0)
    for part in parts or ("",):
        for kind in ("Brief", "Rede"):
            folder = root / part / kind
            folder.mkdir(parents=True)
            for number in range(12):
                words = " ".join(draw.choices(WORDS["de"].split(), k=14))
                (folder / f"{number}.txt").write_text(f"{kind} {words}", encoding="utf-8")
    return root


@pytest.mark.parametrize("parts", [(), ("train", "valid", "test")])
def test_a_folder_of_texts(cli: Cli, tmp_path: Path, parts: tuple[str, ...]) -> None:
    text_folder(tmp_path / "texte", *parts)
    done = cli("init", "texte-job", "--data", "texte")
    assert done.exit_code == 0, done.output
    assert "language      German" in done.stdout
    spec = read("texte-job")
    assert spec.data is not None
    assert (spec.objective, spec.data.language, spec.data.label) == (
        "text_classification",
        "de",
        None,
    )
    data = read_data(spec)
    assert data is not None
    assert data.classes == ("Brief", "Rede")
    assert len(data.test) == (24 if parts else 0)


@pytest.mark.parametrize(("language", "name"), [("de", "German"), ("en", "English")])
def test_texts(cli: Cli, tmp_path: Path, language: str, name: str) -> None:
    text_table(tmp_path / "texts.csv", language)
    done = cli("init", "texts", "--data", "texts.csv", "--time", "overnight")
    assert done.exit_code == 0, done.output
    assert f"language      {name}" in done.stdout
    assert "guessed       'klasse' is the column to predict, by its name" in done.stdout
    assert re.search(r"texts are copies|texts also in training", done.stdout)
    spec = read("texts")
    assert spec.data is not None
    assert (spec.objective, spec.data.text, spec.data.label) == (
        "text_classification",
        "inhalt",
        "klasse",
    )
    assert (spec.budget.timeout, spec.budget.trials) == (36000, None)
    assert spec.search_space["batch_size"] == 8  # of few texts, an epoch is more than one step


def test_texts_without_spaces(cli: Cli, tmp_path: Path) -> None:
    draw = random.Random(1)
    letters = "日本語学研究言文字書本人大小中国語東京都市山川田"
    rows = [f"{''.join(draw.choices(letters, k=30))},{'a' if n % 2 else 'b'}" for n in range(40)]
    (tmp_path / "ja.csv").write_text("\n".join(["文,類", *rows]), encoding="utf-8")
    done = cli("init", "ja", "--data", "ja.csv")
    assert done.exit_code == 0, done.output
    assert "language      of a script without spaces" in done.stdout
    assert read("ja").objective == "text_classification"


def test_a_number_to_predict(cli: Cli) -> None:
    penguins = ROOT / "jobs" / "penguins-mass" / "penguins.csv"
    done = cli("init", "mass", "--data", penguins, "--label", "body_mass_g", "--trials", "7")
    assert done.exit_code == 0, done.output
    spec = read("mass")
    assert (spec.objective, spec.metric, spec.budget.trials) == ("tabular_regression", "rmse", 7)


def test_far_values_are_scored_by_mae(cli: Cli, tmp_path: Path) -> None:
    rows = [f"{n % 7},{n % 50 + 0.5}" for n in range(200)] + ["1,90000.5", "2,95000.5"]
    table(tmp_path / "prices.csv", "rooms,price", *rows, times=1)
    assert cli("init", "prices", "--data", "prices.csv").exit_code == 0
    assert read("prices").metric == "mae"


def test_classes_of_a_table(cli: Cli) -> None:
    penguins = ROOT / "jobs" / "penguins-species" / "penguins.csv"
    assert cli("init", "kinds", "--data", penguins, "--label", "species").exit_code == 0
    spec = read("kinds")
    assert (spec.objective, spec.metric) == ("tabular_classification", "f1_macro")


def test_odd_names_in_a_table(cli: Cli, tmp_path: Path) -> None:
    header = '"breite ""cm""","größe, in #",target'
    table(tmp_path / "odd.csv", header, "1.5,2,a b", "2.5,7,c=d", "0.5,9,007")
    done = cli("init", "odd", "--data", "odd.csv")
    assert done.exit_code == 0, done.output
    data = read_data(read("odd"))
    assert data is not None
    assert set(data.counts) == {"a b", "c=d", "007"}


def test_a_gzipped_table_with_rows_that_belong_together(cli: Cli, tmp_path: Path) -> None:
    text = "\n".join(["patient,x,y", *(f"{n % 9},{n / 7},{'ab'[n % 2]}" for n in range(90))])
    with gzip.open(tmp_path / "visits.csv.gz", "wt") as file:
        file.write(text)
    assert cli("init", "visits", "--data", "visits.csv.gz").exit_code == 0
    assert '# group = "patient"' in Path("visits/study.toml").read_text()
    read("visits")


def test_every_line_is_explained(cli: Cli, image_folder: Path) -> None:
    cli("init", "pets", "--data", image_folder)
    lines = Path("pets/study.toml").read_text().splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if "=" in line and not line.startswith("#"):
            assert "# " in line or before.startswith("# "), line
        assert len(line) <= 100


@pytest.mark.studies
@pytest.mark.parametrize(
    "kind", ["digits", "rows", "numbers", "texts", "folder", "images", "pages", "marks", "sizes"]
)
def test_a_function_that_runs(
    cli: Cli, tmp_path: Path, images: Callable[..., Path], kind: str
) -> None:
    data = {
        "rows": lambda: table(tmp_path / "t.csv", "a,b,label", "1,x,u", "2,y,v", "3,x,w"),
        "numbers": lambda: table(
            tmp_path / "n.csv", "a,label", *(f"{n},{n * 1.7}" for n in range(40)), times=1
        ),
        "texts": lambda: text_table(tmp_path / "texts.csv", "en"),
        "images": lambda: images({"cats": 12, "dogs": 8}),
        "pages": lambda: page_table(tmp_path, images),
        "folder": lambda: text_folder(tmp_path / "texte"),
        "marks": lambda: shapes(tmp_path, images, "marks", lambda n: SETS[n % 6]),
        "sizes": lambda: shapes(tmp_path, images, "size", lambda n: f"{n * 1.5}"),
    }.get(kind, lambda: None)()
    options = [] if data is None else ["--data", data]
    done = cli("init", "mine", "--function", *options)
    assert done.exit_code == 0, done.output
    assert cli("check", "mine").exit_code == 0
    ran = cli("worker", "mine", "--set", "budget.trials=2")
    assert ran.exit_code == 0, ran.output
    seen = cli("status", "mine")
    assert "2 of 2 trials" in seen.stdout, seen.output
    trained = cli("train", "mine", "-o", "final")
    assert trained.exit_code == 0, trained.output
    scale, model = joblib.load(Path("final", "model.joblib"))
    assert hasattr(model, "predict") and hasattr(scale, "transform")


def loaded(cli: Cli, data: Path) -> tuple[object, np.ndarray]:
    """The items and targets as the function reads them that init writes for ``data``."""
    done = cli("init", "mine", "--function", "--data", data)
    assert done.exit_code == 0, done.output
    items, targets = runpy.run_path("mine/objective.py")["load"](SimpleNamespace(path=data))
    return items, targets


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_function_reads_a_table_as_it_is_written(cli: Cli, tmp_path: Path, encoding: str) -> None:
    rows = [
        f"{1 + n % 28:02}.{1 + n % 12:02}.2021;1.{n:03},5;{'ab'[n % 2]};{n},25" for n in range(40)
    ]
    text = "\n".join(["verkauft;fläche;ort;preis", *rows])
    (tmp_path / "preise.csv").write_text(text, encoding=encoding)
    items, targets = loaded(cli, tmp_path / "preise.csv")
    assert targets.tolist() == [n + 0.25 for n in range(40)]
    read_rows = np.asarray(items)
    assert read_rows.shape == (40, 4)  # a date, a number, and two categories
    assert read_rows[1].tolist() == [18660.0, 1001.5, 0.0, 1.0]


def test_a_function_reads_texts_between_semicolons(cli: Cli, tmp_path: Path) -> None:
    file = text_table(tmp_path / "briefe.csv", "de")
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(each.replace(",", ";") for each in lines) + "\n", encoding="utf-8")
    _, targets = loaded(cli, file)
    assert set(targets) == {"Brief", "Rede"}


@pytest.mark.parametrize("places", ["{kind}", "{kind}/{part}", "{part}/{kind}", "{kind}/more"])
@pytest.mark.parametrize("suffix", [".TXT", ".png"])
def test_a_function_learns_the_classes_not_the_parts(
    cli: Cli, tmp_path: Path, places: str, suffix: str
) -> None:
    for kind in ("pos", "neg"):
        for part in ("train", "test"):
            folder = tmp_path / "items" / places.format(kind=kind, part=part)
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(6):
                file = folder / f"{part}{number}{suffix}"
                if suffix == ".png":
                    Image.new("L", (8, 8), number).save(file)
                else:
                    file.write_text(f"{kind} {part} {number} {WORDS['en']}")
            (folder / "NOTES.md").write_text("not an item")
    _, targets = loaded(cli, tmp_path / "items")
    assert sorted(targets) == ["neg"] * 12 + ["pos"] * 12


@pytest.mark.parametrize("delimiter", ["; ", " ,", " | ", "  "])
def test_a_function_learns_the_labels_without_blanks(
    cli: Cli, tmp_path: Path, images: Callable[..., Path], delimiter: str
) -> None:
    sets = [name.replace(";", delimiter) for name in SETS]
    data = shapes(tmp_path, images, "marks", lambda n: f'"{sets[n % 6]} "')
    _, targets = loaded(cli, data)
    names = ("box", "disc", "line")
    assert targets.tolist() == [[int(x in SETS[n % 6]) for x in names] for n in range(24)]


def test_a_function_learns_labels_in_columns_of_words(
    cli: Cli, tmp_path: Path, images: Callable[..., Path]
) -> None:
    cell = {True: "Yes", False: "no"}
    data = shapes(
        tmp_path, images, "disc,box", lambda n: f"{cell[n % 2 > 0]},{'x' if n % 3 else ''}"
    )
    _, targets = loaded(cli, data)
    assert targets.tolist() == [[int(n % 2 > 0), int(n % 3 > 0)] for n in range(24)]


@pytest.mark.studies
@pytest.mark.parametrize("budget", [("--trials", "9"), ("--time", "lunch")])
def test_measured_by_one_short_trial(cli: Cli, budget: tuple[str, str]) -> None:
    done = cli("init", "mine", "--function", "--measure", *budget)
    assert done.exit_code == 0, done.output
    assert "measured      one trial with the fewest epochs took " in done.stdout
    assert "wrote         mine/study.toml: the measurement, in [budget]" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    shown, written = " ".join(done.stdout.split()), Path("mine/study.toml").read_text()
    table = written.partition("[budget]\n")[2].partition("\n[")[0]
    remark = " ".join(line.removeprefix("# ") for line in table.splitlines() if line[:2] == "# ")
    assert re.match(r"Measured on 2\d{3}-\d\d-\d\d on this machine: one trial with the", remark)
    spec = read_spec("mine")
    if budget[0] == "--trials":
        assert "9 of them " in shown and "9 of them " in remark
        assert spec.budget.trials == 9
    else:
        (fitting,) = re.findall(r"about (\d+) in 1h", remark)
        assert f"# trials = {fitting} " in table  # suggested, not set: the time is the budget
        assert (spec.budget.trials, spec.budget.timeout) == (None, 3600)
    assert not Path(".hpo/studies.db").exists()  # nothing of the short trial is kept


# Like another job


def test_like_another_job(cli: Cli, tmp_path: Path) -> None:
    table(tmp_path / "birds.csv", "a,species", "1,x", "2,y")
    job = ROOT / "jobs" / "penguins-species"
    like = tmp_path / "first"
    like.mkdir()
    text = (job / "study.toml").read_text().replace('features = ["bill_depth_mm"', "#")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#  "))
    (like / "study.toml").write_text(text.replace('"penguins.csv"', '"penguins.csv"  # kept'))
    (like / "penguins.csv").write_bytes((job / "penguins.csv").read_bytes())
    done = cli("init", "second", "--like", "first", "--data", "birds.csv")
    assert done.exit_code == 0, done.output
    written = Path("second/study.toml").read_text()
    assert 'path = "../birds.csv"  # kept' in written
    before, after = tomllib.loads(text), tomllib.loads(written)
    assert (after.pop("name"), after["data"].pop("path")) == ("second", "../birds.csv")
    del before["name"], before["data"]["path"]
    assert before == after
    assert read("second").metric == "f1_macro"


def test_like_a_job_with_a_function_and_the_same_data(cli: Cli, job: Callable[..., Path]) -> None:
    first = job(data={"path": "../numbers.txt"})
    Path(first.parent, "numbers.txt").write_text("1 2 3")
    assert cli("init", "deep/second", "--like", first).exit_code == 0
    spec = read_spec("deep/second")
    assert spec.name == "second"
    assert spec.data_path is not None
    assert spec.data_path.resolve() == first.parent / "numbers.txt"
    assert cli("check", "deep/second").exit_code == 0


# Where it is written


def test_a_plain_name_is_a_folder_under_jobs(cli: Cli, image_folder: Path) -> None:
    Path("jobs").mkdir()
    done = cli("init", "My Pets", "--data", image_folder)
    assert "wrote         jobs/My Pets/study.toml" in done.stdout
    assert read("My Pets").name == "my-pets"


# What cannot be done is said in one line, and nothing is written


def test_nothing_is_overwritten(refused: Refused, job: Callable[..., Path]) -> None:
    line = refused("init", job(), "--function")
    assert "study.toml: exists already; name another JOB, or remove it" in line


def test_a_folder_without_images(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty: no images in it" in refused("init", "x", "--data", tmp_path / "empty")


def test_a_folder_with_tables_names_them(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    table(tmp_path / "tables" / "one.csv", "a,b", "1,2")
    assert "its tables: one.csv; name one" in refused("init", "x", "--data", tmp_path / "tables")


@pytest.mark.parametrize("folder", ["images", None])
def test_images_that_are_not_where_the_table_says(
    refused: Refused, tmp_path: Path, folder: str | None
) -> None:
    names = [f"{n:04}.png" for n in range(6)]
    if folder:
        (tmp_path / folder).mkdir()
        for name in names:
            Image.new("L", (8, 8)).save(tmp_path / folder / name)
    file = table(tmp_path / "t.csv", "file,kind", *(f"{n},{n[3]}" for n in names), times=1)
    line = refused("init", "x", "--data", file)
    assert "t.csv: column 'file' names image files, but 0000.png is not there" in line
    assert ("(it is in " in line) == (folder is not None)
    assert "write the paths relative to" in line


def test_one_image_that_is_missing_is_named(
    refused: Refused, tmp_path: Path, images: Callable[..., Path]
) -> None:
    page_table(tmp_path, images)
    (tmp_path / "images/scans/0003.png").unlink()
    assert "images/scans/0003.png is not there" in refused("init", "x", "--data", "pages.csv")


def test_no_column_to_predict(refused: Refused, tmp_path: Path) -> None:
    file = table(tmp_path / "ids.csv", "id", *(f"k{n}z" for n in range(40)), times=1)
    assert "no column looks like one to predict; name it with --label: id" in refused(
        "init", "x", "--data", file
    )


def test_an_unknown_column(refused: Refused, tmp_path: Path) -> None:
    file = table(tmp_path / "t.csv", "a,target", "1,u", "2,v")
    line = refused("init", "x", "--data", file, "--label", "traget")
    assert "unknown column 'traget'; did you mean 'target'?" in line


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "name your data with --data, or add --function or --like JOB"),
        (["--function", "--time", "soon"], "'30m', '1h30m' or '90s', found 'soon'"),
        (["--like", "job", "--trials", "3"], "--like job goes with --data alone"),
    ],
)
def test_options_that_say_too_little_or_too_much(
    cli: Cli, job: Callable[..., Path], arguments: list[str], text: str
) -> None:
    job()
    done = cli("init", "x", *arguments)
    assert done.exit_code == 2
    assert text in " ".join(done.stderr.split())
    assert not Path("x").exists()


def test_metrics_that_are_proposed_exist() -> None:
    assert {"accuracy", "f1_macro", "rmse", "mae"} <= set(METRICS)
