import time


def train(trial, context):
    if trial.number == 3:
        time.sleep(600)  # its worker is killed meanwhile
    return (context.params["x"] - 1) ** 2
