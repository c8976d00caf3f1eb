"""The estimators behind the examples, trained on data that ships inside scikit-learn; seeds are fixed.

Both makers convert these, so a model has the same answers in either format, given by scikit-learn itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor, IsolationForest, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

Answer = dict[str, object]


@dataclass(frozen=True)
class Trained:
    """A fitted pipeline, the data it saw and what it says about the rows that the example shows."""

    pipeline: Pipeline
    data: pd.DataFrame
    target: str | None
    rows: pd.DataFrame
    answers: Sequence[Answer]


def rounded(value: float) -> float:
    """Nine significant digits: stable from one machine's arithmetic to the next."""
    return float(f"{value:.9g}")


def classified(pipeline: Pipeline, rows: pd.DataFrame) -> list[Answer]:
    """Label, and probability per class."""
    labels, table = pipeline.predict(rows), pipeline.predict_proba(rows)
    return [
        {
            "label": str(label),
            "probabilities": {str(c): rounded(p) for c, p in zip(pipeline.classes_, row, strict=True)},
        }
        for label, row in zip(labels, table, strict=True)
    ]


def iris_data() -> tuple[pd.DataFrame, "pd.Series[str]"]:
    """Four measurements in centimetres of 150 flowers, and their species."""
    bunch = datasets.load_iris(as_frame=True)
    data = bunch.data.set_axis(["sepal_length", "sepal_width", "petal_length", "petal_width"], axis="columns")
    return data, pd.Series(bunch.target_names[bunch.target], name="species")


def iris() -> Trained:
    """Random forest, three species."""
    data, species = iris_data()
    pipeline = Pipeline([("forest", RandomForestClassifier(n_estimators=10, max_depth=4, random_state=0))])
    pipeline.fit(data, species)
    rows = data.iloc[[0, 52, 121]]
    return Trained(pipeline, data, "species", rows, classified(pipeline, rows))


def iris_logistic() -> Trained:
    """Multinomial logistic regression on the two petal measurements."""
    data, species = iris_data()
    data = data[["petal_length", "petal_width"]]
    pipeline = Pipeline([("logistic", LogisticRegression())]).fit(data, species)
    rows = data.iloc[[0, 52, 121]]
    return Trained(pipeline, data, "species", rows, classified(pipeline, rows))


def diabetes() -> Trained:
    """Gradient boosting: disease progression after one year from ten measurements in their original units."""
    bunch = datasets.load_diabetes(as_frame=True, scaled=False)
    boosting = GradientBoostingRegressor(n_estimators=40, max_depth=2, random_state=0)
    pipeline = Pipeline([("boosting", boosting)]).fit(bunch.data, bunch.target)
    rows = bunch.data.iloc[[0, 1, 2]]
    answers: list[Answer] = [{"value": rounded(value)} for value in pipeline.predict(rows)]
    return Trained(pipeline, bunch.data, "progression", rows, answers)


def diabetes_risk() -> Trained:
    """Logistic regression with two categorical columns, binned from age in years and body mass index (WHO classes).

    The label says whether the progression lies above the median of the 442 patients.
    """
    bunch = datasets.load_diabetes(as_frame=True, scaled=False)
    ages, masses = [0, 40, 60, 150], [0, 18.5, 25, 30, 100]
    age_group = pd.cut(bunch.data.age, ages, right=False, labels=["under 40", "40 to 59", "60 and over"])
    bmi_class = pd.cut(bunch.data.bmi, masses, right=False, labels=["underweight", "normal", "overweight", "obese"])
    data = pd.DataFrame(
        {
            "age_group": age_group.astype(object),
            "bmi_class": bmi_class.astype(object),
            "bp": bunch.data.bp,
            "s5": bunch.data.s5,
        }
    )
    columns = ColumnTransformer(
        [("categories", OneHotEncoder(), ["age_group", "bmi_class"]), ("numbers", StandardScaler(), ["bp", "s5"])]
    )
    progression = np.where(bunch.target > bunch.target.median(), "high", "low")
    pipeline = Pipeline([("columns", columns), ("logistic", LogisticRegression())]).fit(data, progression)
    rows = data.iloc[[0, 1, 2]]
    return Trained(pipeline, data, "progression", rows, classified(pipeline, rows))


def wine_data() -> pd.DataFrame:
    """Thirteen chemical measurements of 178 wines; the cultivar is left out."""
    data: pd.DataFrame = datasets.load_wine(as_frame=True).data
    return data.rename(columns={"od280/od315_of_diluted_wines": "od280_od315"})


def wine_clusters() -> Trained:
    """Standardised, then k-means with three centres. The answers hold the Euclidean distance to each centre."""
    data = wine_data()
    pipeline = Pipeline([("scaler", StandardScaler()), ("kmeans", KMeans(3, n_init=10, random_state=0))]).fit(data)
    rows = data.iloc[[0, 70, 170]]
    answers: list[Answer] = [
        {"cluster": int(cluster), "distances": {str(i): rounded(d) for i, d in enumerate(distances)}}
        for cluster, distances in zip(pipeline.predict(rows), pipeline.transform(rows), strict=True)
    ]
    return Trained(pipeline, data, None, rows, answers)


def reduced(pipeline: Pipeline, rows: pd.DataFrame) -> list[Answer]:
    """The coordinates in the reduced space."""
    return [{"components": [rounded(c) for c in point]} for point in pipeline.transform(rows)]


def wine_pca() -> Trained:
    """Standardised, then the two principal components."""
    data = wine_data()
    pipeline = Pipeline([("scaler", StandardScaler()), ("pca", PCA(2, svd_solver="full"))]).fit(data)
    rows = data.iloc[[0, 70, 170]]
    return Trained(pipeline, data, None, rows, reduced(pipeline, rows))


def digits_data() -> tuple[pd.DataFrame, "pd.Series[int]"]:
    """1,797 handwritten digits as 64 grey values from 0 to 16."""
    bunch = datasets.load_digits(as_frame=True)
    return bunch.data, bunch.target


def digits_pca() -> Trained:
    """64 grey values to eight principal components."""
    data, _ = digits_data()
    pipeline = Pipeline([("pca", PCA(8, svd_solver="full"))]).fit(data)
    rows = data.iloc[[0, 1, 2]]
    return Trained(pipeline, data, None, rows, reduced(pipeline, rows))


def digits_image() -> Trained:
    """A network with one hidden layer; the answers are the ten class scores."""
    data, digit = digits_data()
    network = MLPClassifier((24,), alpha=0.1, max_iter=400, random_state=0)
    pipeline = Pipeline([("network", network)]).fit(data / 16, digit)
    rows = data.iloc[[0, 1, 2]]
    answers: list[Answer] = [
        {"scores": [rounded(score) for score in scores]} for scores in pipeline.predict_proba(rows / 16)
    ]
    return Trained(pipeline, data, "digit", rows, answers)


def breast_cancer_anomaly() -> Trained:
    """Isolation forest on the ten mean measurements of 569 cell samples; below zero is an anomaly."""
    data = datasets.load_breast_cancer(as_frame=True).data.iloc[:, :10].rename(columns=lambda c: c.replace(" ", "_"))
    forest = IsolationForest(n_estimators=20, max_samples=32, contamination=0.05, random_state=0)
    pipeline = Pipeline([("forest", forest)]).fit(data)
    rows = data.iloc[[0, 1, 3]]
    answers: list[Answer] = [
        {"anomaly": bool(flag == -1), "score": rounded(score)}
        for flag, score in zip(pipeline.predict(rows), pipeline.decision_function(rows), strict=True)
    ]
    return Trained(pipeline, data, None, rows, answers)
