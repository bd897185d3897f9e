"""Text in a scene: a signpost for each word, and the word beside its picture.

    runner run text.py

Latin, Greek and Cyrillic letters are at hand without a network. Others need a font of your own: put it into a folder
fonts beside this file, say Campaign("text", assets="fonts"), and Text(…, font=campaign.asset("mine.woff")).
"""

from vuer.schemas import AmbientLight, BackgroundColor, Box, CameraView, Cylinder, DefaultScene, Group, Text

from runner import Campaign

campaign = Campaign("text")

WORDS = [
    "Lisboa", "Kraków", "Αθήνα", "Reykjavík", "Zürich", "София", "Oslo", "Besançon",
    "Київ", "Malmö", "Θεσσαλονίκη", "İzmir", "Tromsø", "Brno", "Łódź", "Málaga",
]  # fmt: skip
MIDDLE = {"anchorX": "center", "anchorY": "middle"}
BOARDS = ["#2a9d6f", "#2f6fc4", "#c0485a", "#7d5cc0"]


@campaign.jobs
def jobs(words=WORDS):
    """Other words: --set 'words=["Exit", "Way out"]'"""
    for number, word in enumerate(words):
        yield f"sign-{number:03d}", {"word": word}


@campaign.scene
def scene():
    return DefaultScene(
        Box(key="ground", args=[200, 0.1, 200], position=[0, -0.05, 0], material={"color": "#a9c08e"}),
        Cylinder(key="post", args=[0.06, 0.06, 2, 24], position=[0, 1, -0.1], material={"color": "#a0a8b0"}),
        grid=False,
        bgChildren=[BackgroundColor(key="sky", color="#cfe3f1"), AmbientLight(key="fill", intensity=0.8)],
        rawChildren=[CameraView(key="ego", width=640, height=480, fov=40, near=0.1, far=200)],
    )


@campaign.render
async def render(session, job):
    word, rng = job.params["word"], job.rng
    width = 0.25 * len(word) + 0.5
    white, board = {"color": "#f5f5f0"}, {"color": str(rng.choice(BOARDS))}
    # A group moves and turns what it holds: the board, its rim behind it, and the text before it.
    session.add @ Group(
        Box(key="rim", args=[width + 0.1, 0.9, 0.05], position=[0, 0, -0.01], material=white),
        Box(key="board", args=[width, 0.8, 0.05], material=board),
        Text(word, key="word", fontSize=0.4, position=[0, 0, 0.04], **white, **MIDDLE),
        key="sign",
        position=[0, 1.7, 0],
        rotation=[0, rng.uniform(-0.6, 0.6), 0],
    )
    eye = [rng.uniform(-1, 1), rng.uniform(0.8, 2.2), 1.6 + 0.8 * width]
    session.update @ CameraView(key="ego", position=eye, lookAt=[0, 1.6, 0])
    job.save("rgb.jpg", await session.grab("ego"))
    job.save("label.txt", word)
