"""Tune a small neural network of scikit-learn's on its 8 x 8 digits: no fastai, no GPU."""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier


def train(trial, context):
    images, digits = load_digits(return_X_y=True)
    split = train_test_split(images / 16, digits, test_size=0.3, random_state=context.seed)
    train_images, valid_images, train_digits, valid_digits = split
    network = MLPClassifier(
        hidden_layer_sizes=(trial.suggest_int("units", 8, 128, log=True),),
        learning_rate_init=trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        random_state=context.seed,
    )
    for _ in range(10):
        network.partial_fit(train_images, train_digits, classes=range(10))
        accuracy = network.score(valid_images, valid_digits)
        context.report(accuracy)  # counts the steps, and prunes a bad trial here
    return accuracy
