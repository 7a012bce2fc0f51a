"""The colours of pictures and pages, chosen once: each stands out on white and on near-black."""

# By the name of a trial's state
COLOURS = {
    "COMPLETE": "#3b82c4",
    "PRUNED": "#e08e26",
    "FAIL": "#d9483b",
    "RUNNING": "#8d6cc9",
    "WAITING": "#8a949e",
}
BEST, MUTED = "#16a36a", "#8a949e"
# Worst to best: from what recedes to what stands out
SCALE = ("#9fb3c8", "#7fa6d0", "#5c97d3", "#3b82c4", "#2f6db5", "#5a4fb8", "#a13f9c", "#e0484f")
