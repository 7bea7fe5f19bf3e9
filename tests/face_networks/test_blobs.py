import cv2
import numpy as np
import pytest

from face_networks.blobs import blob, levels


@pytest.mark.parametrize(("mean", "scale"), [(127.5, 1 / 128), (127.5, 1 / 127.5), (0.0, 1.0)])
def test_an_input_is_what_opencv_makes_of_the_pictures(mean: float, scale: float) -> None:
    pictures = list(np.random.default_rng(0).integers(0, 256, (3, 24, 32, 3), np.uint8))
    expected = cv2.dnn.blobFromImages(pictures, scale, mean=(mean, mean, mean))
    np.testing.assert_allclose(blob(pictures, levels(mean, scale)), expected, rtol=1e-6)
