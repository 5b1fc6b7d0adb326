"""The faces in a photo, found by OpenCV: a PNG with a box around each, or JSON for who accepts that better."""

import threading

import cv2
import numpy as np
from werkzeug.datastructures import FileStorage

CASCADE = "/usr/share/opencv4/haarcascades/haarcascade_frontalface_alt.xml"


class Warm(threading.local):
    """A detector for each thread, as it keeps notes while it looks."""

    def __init__(self) -> None:
        self.detector = cv2.CascadeClassifier(CASCADE)


warm = Warm()


def run(request, photo: FileStorage):
    data = np.frombuffer(photo.read(), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        return "Send a photo, as JPEG or PNG.\n", 400, {"Content-Type": "text/plain"}
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    boxes = warm.detector.detectMultiScale(grey, minNeighbors=5, minSize=(24, 24))
    vary = {"Vary": "Accept"}
    if request.accept_mimetypes.best_match(["image/png", "application/json"]) == "application/json":
        return {"faces": [dict(zip(("x", "y", "width", "height"), map(int, box), strict=True)) for box in boxes]}, vary
    for x, y, width, height in boxes:
        cv2.rectangle(image, (x, y), (x + width, y + height), color=(80, 220, 80), thickness=3)
    return cv2.imencode(".png", image)[1].tobytes(), {"Content-Type": "image/png", **vary}
