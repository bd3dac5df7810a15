"""The command line: `xferlab doctor`, `xferlab labs start | list | run | reset | status | bundle`, `xferlab look`,
`xferlab compare`, `xferlab predict`, `xferlab export`. What an option is called here, the function behind calls it too."""

import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from . import course  # whose modules load when they are first used
from .errors import ArgumentError, XferlabError
from .storage import shrink_cache

READING = "How folders and tables are read"
NUMBER = r"-?(?:\d+\.?\d*|\.\d+)"


def _reads(help: str, *names: str):
    return Option(*names, help=help, rich_help_panel=READING)


Layout = Annotated[str | None, _reads("what a folder's levels are, such as split/class/patient, with - for nothing")]
Groups = Annotated[
    str | None, _reads("patients or slides: a pattern, '(patient[0-9]+)', table.csv:column, parent, or false for none")
]
Window = Annotated[str | None, _reads("of CT: soft, lung, bone or brain; of any: LOW,HIGH become black and white")]
Intensity = Annotated[str | None, _reads("beyond 8 bits: collection, one scale for all, image, one each, or LOW,HIGH")]
Frames = Annotated[str | None, _reads("of DICOM, TIFF and GIF files with several: all, an example a frame")]
Text = Annotated[str | None, _reads("the column of the texts in a table", "--text")]
Label = Annotated[str | None, _reads("the column of their labels", "--label")]
Labels = Annotated[str | None, _reads("a table of labels for a folder of images: table.csv:image,label")]
Map = Annotated[
    list[str] | None, _reads("a target class and the source's name of it, 'NORMAL=no finding'; again for more", "--map")
]
Factory = Annotated[str | None, Option(help="module.py:function, where the network is your own")]
ModelFile = Annotated[Path, Option("--model", help="the .safetensors file that compare wrote")]
Number = Annotated[str, Argument(help="the lab's number, e.g. 02")]

app = typer.Typer(help="Transfer learning you can run: labs, checks and measurements.", no_args_is_help=True)
labs = typer.Typer(help="The course's notebooks.", no_args_is_help=True)
app.add_typer(labs, name="labs")


def main() -> None:
    """Entry point: documented errors become one line on stderr and exit code 2."""
    try:
        app()
    except XferlabError as error:
        typer.echo(f"xferlab: {error}", err=True)
        sys.exit(2)


@app.command()
def doctor(
    network: Annotated[bool, Option("--network", help="also try to reach the data host (5 s at most)")] = False,
    quick: Annotated[bool, Option("--quick", help="without what needs torch: GPU and weights")] = False,
    clear_cache: Annotated[
        bool, Option("--clear-cache", help="remove cached files that can be made again; downloads and runs stay")
    ] = False,
) -> None:
    """Print a pasteable report of this machine and what to fix before a workshop."""
    if clear_cache:
        typer.echo(f"{shrink_cache(0) / 1e9:.1f} GB of cached files removed.\n")
    text, fixes = course.doctor.report(network, quick)
    typer.echo(text)
    raise typer.Exit(bool(fixes))


@app.command()
def compare(
    source: Annotated[list[str], Option(help="labeled: class folders, a .npz, or a name; again for each further site")],
    target: Annotated[str, Option(help="the same, or an unlabeled folder; labels make the oracle's columns alone")],
    recipes: Annotated[str, Option(help="names with commas between; by default simple ones first")] = "",
    seeds: Annotated[int, Option(help="runs of each recipe")] = 3,
    minutes: Annotated[float, Option(help="all of it; steps, seeds and recipes are fitted to it")] = 20,
    encoders: Annotated[
        list[str] | None,
        Option("--encoder", help="a name that xl.encoder knows (efficientnet_lite0); several are ranked together"),
    ] = None,
    factory: Annotated[str | None, Option("--model", help="your own network instead: module.py:function")] = None,
    weights: Annotated[Path | None, Option(help="its weights, .safetensors or a plain file of tensors")] = None,
    size: Annotated[int | None, Option(help="pixels a side; by default the encoder's")] = None,
    steps: Annotated[int | None, Option(help="training steps a run; by default what fits the minutes")] = None,
    labeled: Annotated[
        str | None, Option(help="the few target images that have labels: a folder, or table.csv:image,label")
    ] = None,
    search: Annotated[bool, Option("--search", help="try each recipe at three strengths first")] = False,
    all_seeds: Annotated[bool, Option("--all-seeds", help="also for recipes that are far behind after two")] = False,
    workers: Annotated[str, Option(help="processes side by side: a number, or auto for as many as fit and pay")] = "1",
    scheduler: Annotated[
        str | None, Option(help="a Dask scheduler, tcp://HOST:8786: its workers train, all on one shared --store")
    ] = None,
    propose: Annotated[int, Option(help="write label-next.csv: so many target images to label next")] = 0,
    selector: Annotated[str | None, Option(help="the validator to choose by; fix it before you see the oracle")] = None,
    any_way_up: Annotated[
        bool, Option("--any-way-up", help="pictures have no top, as under a microscope: they may be flipped and turned")
    ] = False,
    out: Annotated[Path, Option(help="the report, one HTML file")] = Path("report.html"),
    save_model: Annotated[Path | None, Option(help="the winner; by default beside the report")] = None,
    store: Annotated[Path | None, Option(help="folder of finished runs; by default in the cache")] = None,
    source_labels: Labels = None,
    target_labels: Labels = None,
    layout: Layout = None,
    rename: Map = None,
    groups: Groups = None,
    window: Window = None,
    intensity: Intensity = None,
    frames: Frames = None,
    text_column: Text = None,
    label_column: Label = None,
) -> None:
    """Which method carries your labels from one place to another? Trains, chooses without target labels, reports.

    Interrupted, the same command goes on where it was. Not for clinical use.
    """
    options = _given(locals())
    from .comparison import commands

    commands.compare(**options | {"recipes": _names(recipes)}, say=typer.echo)


@app.command()
def look(
    source: Annotated[str, Argument(help="a folder of images, a .npz, a table of texts, or a name")],
    target: Annotated[str | None, Argument(help="another, to see what differs")] = None,
    out: Annotated[Path, Option(help="the page, one HTML file")] = Path("look.html"),
    encoder: Annotated[
        str, Option(help="whose features find labels that may be wrong; none for no such search")
    ] = "efficientnet_lite0",
    size: Annotated[int, Option(help="pixels a side")] = 96,
    source_labels: Labels = None,
    target_labels: Labels = None,
    layout: Layout = None,
    groups: Groups = None,
    window: Window = None,
    intensity: Intensity = None,
    frames: Frames = None,
    text_column: Text = None,
    label_column: Label = None,
) -> None:
    """How is a folder read, what is in it, and how do two differ? Before any training, on one screen and one page."""
    options = _given(locals(), without=("out",)) | {"encoder": None if encoder == "none" else encoder}
    from .comparison import look as seen

    found = seen(**options)
    typer.echo(repr(found))
    typer.echo(f"Page:  {found.to_html(out)}")


@app.command()
def predict(
    model_file: ModelFile,
    where: Annotated[str, Option("--input", help="a folder of images, or a .npz")],
    out: Annotated[Path, Option(help="a row an image: file, class, a probability a class")] = Path("preds.csv"),
    factory: Factory = None,
    sensitivity: Annotated[
        float | None, Option(help="share of --class to find, such as 0.95: adds the column flagged")
    ] = None,
    of: Annotated[str | None, Option("--class", help="the class that is to be found")] = None,
    abstain: Annotated[
        float | None, Option(help="share of its answers that may be wrong, such as 0.05: adds the column answer")
    ] = None,
    window: Window = None,
    intensity: Intensity = None,
    text_column: Text = None,
    labels: Labels = None,
) -> None:
    """Classifies every image of a folder. Not for clinical use."""
    options = _given(locals())
    from .comparison import prediction

    prediction.predict(**options, say=typer.echo)


@app.command()
def export(
    model_file: ModelFile,
    out: Annotated[Path, Option(help="the ONNX file to write")] = Path("model.onnx"),
    factory: Factory = None,
) -> None:
    """Writes a model as ONNX, to run it without PyTorch. Not for clinical use."""
    from .comparison.export import export as write

    write(model_file, out, factory=factory, say=typer.echo)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _given(options: dict, without: tuple[str, ...] = ()) -> dict:
    """The options that were given: of those that say how to read, two numbers are a pair, "false" is False."""
    found = {name: value for name, value in options.items() if value is not None and name not in without}
    for name in {"layout", "groups", "window", "intensity"} & found.keys():
        if re.fullmatch(f"{NUMBER}[,:]{NUMBER}", found[name]):
            found[name] = tuple(map(float, re.split("[,:]", found[name])))
        elif found[name].casefold() == "false":
            found[name] = False
    if wrong := [pair for pair in found.get("rename", ()) if "=" not in pair]:
        raise ArgumentError(f"--map is {wrong[0]!r}, expected target and source class, as in 'NORMAL=no finding'")
    if "rename" in found:
        found["rename"] = dict(pair.split("=", 1) for pair in found["rename"])
    return found


@labs.command("list")
def list_labs() -> None:
    """List the labs: minutes, data, and which are built."""
    for entry in course.content.course()["labs"]:
        state = "" if entry["built"] else "  (planned)"
        typer.echo(f"{entry['number']}  {entry['title']:48s} {entry['minutes']:3d} min  {entry['data']}{state}")


@labs.command("run")
def run_lab(
    number: Number,
    out: Annotated[Path, Option(help="folder for the executed notebook and its page")] = Path("runs"),
    student: Annotated[bool, Option("--student", help="the learner's notebook, exercises blank")] = False,
    timeout: Annotated[
        int | None, Option(help="seconds a cell may take: 900, and no limit in profile full or with XFERLAB_RECORD")
    ] = None,
) -> None:
    """Run a lab from its source, headless; print its results table and where the page is."""
    raise typer.Exit(course.commands.run(number, out, student, timeout))


@labs.command("start")
def start_labs(
    folder: Annotated[Path, Argument(help="where your notebooks go")] = Path("xferlab-course"),
    no_open: Annotated[bool, Option("--no-open", help="do not open JupyterLab")] = False,
) -> None:
    """Put notebooks, results and pictures into a folder of yours and open JupyterLab on lab 00.

    A notebook that you changed is never written over: `xferlab labs reset NN` gives you a fresh one and keeps yours.
    """
    raise typer.Exit(course.commands.start(folder, no_open))


@labs.command("reset")
def reset_lab(
    number: Number, folder: Annotated[Path, Option(help="the folder that `labs start` filled")] = Path()
) -> None:
    """Put a fresh notebook in place of yours; yours is kept beside it."""
    fresh, kept = course.workspace.reset(number, folder)
    typer.echo(f"{fresh} is fresh." + (f" Yours is {kept}." if kept else ""))


@labs.command("status")
def status_of_labs(folder: Annotated[Path, Argument(help="notebooks, or one folder a learner")] = Path()) -> None:
    """Read how far the notebooks in a folder are: exercises passed, predictions, where each stopped."""
    for line in course.workspace.table(course.workspace.status(folder)):
        typer.echo(line)


@labs.command("bundle")
def bundle_labs(
    out: Annotated[Path, Option(help="the archive to write, a .zip")] = Path("xferlab-course.zip"),
    extras: Annotated[str, Option(help="of the package, with commas between")] = "labs,nlp",
    without: Annotated[str, Option(help="packages that the classroom has already, e.g. torch,torchvision")] = "",
    wheels: Annotated[Path | None, Option(help="a folder of wheels that need not be fetched")] = None,
    data: Annotated[bool, Option(help="make the labs' data now, so that no learner waits for it")] = True,
) -> None:
    """Write one archive with wheels, weights, data, notebooks and install.py, for a classroom without internet.

    Needs a network once, where it is made. It is for this kind of machine and this Python.
    """
    home = course.content.folder()
    course.bundle.write(out, home, extras=_names(extras), without=_names(without), wheels=wheels, data=data)


if __name__ == "__main__":
    main()
