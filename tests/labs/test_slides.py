"""Slides come from the worked notebooks: every lab has its question, its predictions and its key results on them."""

from pathlib import Path

import nbformat
import pytest
import slides

from xferlab.course import content

LABS = Path(__file__).parents[2] / "labs"


@pytest.mark.parametrize("entry", content.course(LABS)["labs"], ids=lambda entry: entry["number"])
def test_a_deck_has_question_prediction_results_and_answer(entry):
    """Fails if a lab's sections are renamed so that its slides come out empty."""
    worked = nbformat.read(LABS / "solutions" / f"{entry['name']}.ipynb", as_version=4)
    quiz = content.answers(entry["number"])["quiz"]
    cells = slides.deck(entry, worked, quiz).cells
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    assert entry["question"] in texts[0]
    assert any(text.startswith("## Predict\n\n") and len(text) > 60 for text in texts)
    assert sum("## When it hurts" in text for text in texts) == 1
    assert sum(cell.cell_type == "code" for cell in cells) >= 2  # the results, and the answer
    assert sum(question["question"] in text for question in quiz for text in texts) == len(quiz)


def test_a_deck_becomes_a_page_without_code():
    entry = content.course(LABS)["labs"][4]
    worked = nbformat.read(LABS / "solutions" / f"{entry['name']}.ipynb", as_version=4)
    page = slides.page(slides.deck(entry, worked, []), "04")
    assert page.count("<section") >= 8
    assert "import xferlab" not in page
    assert "data:image/png;base64" in page
