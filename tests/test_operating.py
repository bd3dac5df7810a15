"""Temperature, thresholds and abstention against problems solved by hand."""

import numpy as np
import pytest

from xferlab import operating


def test_temperature_by_hand():
    """Sure at 90 %, right on 3 of 4: the likeliest softmax(log p / T) says 75 %, so 9 ** (1 / T) = 3 and T = 2."""
    p = np.array([[0.9, 0.1]] * 4)
    t = operating.temperature(p, [0, 0, 0, 1])
    assert t == pytest.approx(2.0, abs=1e-3)
    assert operating.scaled(p, t)[0] == pytest.approx([0.75, 0.25], abs=1e-4)
    assert operating.scaled(p, 1.0) == pytest.approx(p)
