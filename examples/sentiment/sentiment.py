"""Whether a text is kind, as a model of scikit-learn sees it.

Two dozen sentences are all that it learns from, which is enough to show how such a model is called: put yours in their
place, or `joblib.load("/srv/model.joblib")`.
"""

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

KIND = """I love it
What a lovely day
This is great work
A wonderful film, and so well made
The food was excellent
Thank you for your kind help
I am very happy with this
It works perfectly, I like it
The best thing that I have bought
Beautiful, friendly and good
We had a nice time
She was kind and helpful""".splitlines()
UNKIND = """I hate it
What a horrible day
This is poor work
A terrible film, and so badly made
The food was awful
Nobody would help, and they were rude
I am very unhappy with this
It does not work, I want my money back
The worst thing that I have bought
Ugly, unfriendly and bad
We had a boring time
She was rude and useless""".splitlines()

# The first call trains it, the next ones find it trained.
model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10))
model.fit(KIND + UNKIND, ["kind"] * len(KIND) + ["unkind"] * len(UNKIND))


def run(request, text: str):
    chances = model.predict_proba([text])[0]
    return {"text": text, "is": model.classes_[chances.argmax()], "chance": round(chances.max(), 3)}
