"""Train the model of the acceptance fixture: a random forest of two classes, the same for the same seed.

    python -m venv /tmp/forest && /tmp/forest/bin/pip install scikit-learn
    /tmp/forest/bin/python docs/samples/make_random_forest.py docs/samples

Writes `random_forest.joblib` (100 trees on 10 features, 768 KB) and `random_forest.json` with its figures:
800 samples to learn from, 200 to test with, 97.5 % of which it gets right. scikit-learn is needed to make
the file only; Ingot stores, checks and hands out such files without loading them.
"""

import json
import platform
import sys
from pathlib import Path

import joblib
import sklearn
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

SEED = 221
FEATURES, TRAIN, TEST = 10, 800, 200


def main(folder: Path) -> None:
    """Train, save, and write down how good it is."""
    samples, classes = make_classification(
        n_samples=TRAIN + TEST,
        n_features=FEATURES,
        n_informative=6,
        n_redundant=2,
        class_sep=1.5,
        random_state=SEED,
    )
    train, test, train_classes, test_classes = train_test_split(
        samples, classes, train_size=TRAIN, test_size=TEST, random_state=SEED
    )
    model = RandomForestClassifier(n_estimators=100, random_state=SEED).fit(train, train_classes)
    path = folder / "random_forest.joblib"
    joblib.dump(model, path)
    figures = {
        "accuracy": round(100 * model.score(test, test_classes), 3),
        "features": FEATURES,
        "train_samples": TRAIN,
        "test_samples": TEST,
        "trees": len(model.estimators_),
        "classes": len(model.classes_),
        "size_bytes": path.stat().st_size,
        "made_with": {
            "python": platform.python_version(),
            "scikit-learn": sklearn.__version__,
            "joblib": joblib.__version__,
        },
    }
    (folder / "random_forest.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
