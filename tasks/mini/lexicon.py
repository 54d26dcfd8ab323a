"""The words of the mini world: people, things, actions, places, opinions, and how they relate.

The world is closed: every synonym, opposite and kind that a row may need is stated here, so the
label of each generated row is known by construction. Two genres share the grammar and differ in
words: HOME (daily life) and NEWS (public affairs).
"""

import dataclasses


@dataclasses.dataclass(eq=False)
class Concept:
    """One meaning: its synonyms, compared by identity.

    Attributes:
      forms: synonyms; for a verb, past tense.
      bases: for a verb, the base forms in the order of `forms`; else empty.
      kind: for a noun its hypernym; for a verb the hypernym of its objects, "" = any.
      opposite: the concept that excludes this one, if the world has it.
    """

    forms: tuple[str, ...]
    bases: tuple[str, ...] = ()
    kind: str = ""
    opposite: "Concept | None" = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True)
class Genre:
    """A part of the lexicon that facts are drawn from."""

    agents: tuple[str, ...]
    verbs: dict[str, tuple[Concept, ...]]  # by the kind of their object
    nouns: dict[str, tuple[Concept, ...]]  # by kind
    adjectives: tuple[Concept, ...]
    colours: tuple[str, ...]
    places: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _nouns(**kinds: str) -> dict[str, tuple[Concept, ...]]:
    """`kind="dog/hound cat"` -> concepts by kind."""
    return {
        kind: tuple(Concept(tuple(entry.split("/")), kind=kind) for entry in text.split())
        for kind, text in kinds.items()
    }


def _pairs(text: str) -> tuple[Concept, ...]:
    """Lines of `big/large small/little`: each line holds two opposites."""
    concepts = []
    for line in text.strip().splitlines():
        one, other = (Concept(tuple(entry.split("/"))) for entry in line.split())
        one.opposite, other.opposite = other, one
        concepts += [one, other]
    return tuple(concepts)


def _verbs(text: str, kinds: tuple[str, ...]) -> dict[str, tuple[Concept, ...]]:
    """Lines of `kind past:base/past:base [opposite]`; the kind `any` goes with every noun."""
    by_kind: dict[str, list[Concept]] = {kind: [] for kind in kinds}
    for line in text.strip().splitlines():
        kind, *entries = line.split()
        kind = "" if kind == "any" else kind
        pair = []
        for entry in entries:
            forms = [form.split(":") for form in entry.split("/")]
            pair.append(Concept(tuple(f[0] for f in forms), tuple(f[1] for f in forms), kind))
        if len(pair) == 2:
            pair[0].opposite, pair[1].opposite = pair[1], pair[0]
        for each in (kind,) if kind else kinds:
            by_kind[each] += pair
    return {kind: tuple(verbs) for kind, verbs in by_kind.items()}


MEN = _words(
    "adam ben carl david erik frank george henry ivan jack kevin leo max noah paul tom simon peter"
    " oscar victor walter martin lucas hugo felix emil daniel bruno arthur albert philip robert"
)
WOMEN = _words(
    "anna bella clara diana emma fiona grace hanna iris julia kate laura mary nina olga rosa sara"
    " tina vera wendy yvonne zoe alice betty carla doris ella helen irene judith linda martha"
)
NAMES = MEN + WOMEN
DAYS = _words("monday tuesday wednesday thursday friday saturday sunday")

_HOME_NOUNS = _nouns(
    animal="dog/hound cat horse cow sheep goat rabbit/bunny parrot camel wolf",
    food="apple cake/tart bread soup/stew cheese pizza salad potato banana rice",
    vehicle="car/automobile bike/bicycle boat/ship truck/lorry bus van tractor train wagon taxi",
    tool="hammer/mallet knife/blade rope/cord lamp/lantern ladder shovel brush axe drill bucket",
    garment="coat/jacket hat/cap shirt dress scarf skirt glove belt sweater tie",
    text="book/volume letter/note story/tale map poem novel diary song essay recipe",
)
HOME = Genre(
    agents=NAMES,
    nouns=_HOME_NOUNS,
    verbs=_verbs(
        """
        any bought:buy/purchased:purchase sold:sell
        any found:find/discovered:discover lost:lose/misplaced:misplace
        any took:take/grabbed:grab returned:return
        any hid:hide/concealed:conceal showed:show/displayed:display
        animal fed:feed stroked:stroke
        animal chased:chase tamed:tame
        food ate:eat/consumed:consume
        food cooked:cook/prepared:prepare
        vehicle drove:drive/steered:steer parked:park
        tool sharpened:sharpen
        tool used:use/employed:employ
        garment wore:wear
        garment sewed:sew/stitched:stitch tore:tear/ripped:rip
        text read:read/studied:study
        text wrote:write/composed:compose erased:erase/deleted:delete
        """,
        tuple(_HOME_NOUNS),
    ),
    adjectives=_pairs(
        """
        big/large small/little
        old/ancient new/modern
        clean/spotless dirty/filthy
        cheap/inexpensive expensive/costly
        strong/sturdy weak/fragile
        pretty/beautiful ugly/hideous
        wet/soaked dry
        heavy light
        """
    ),
    colours=_words("red blue green yellow black white brown pink"),
    places=tuple(
        f"the {place}"
        for place in _words(
            "park school kitchen garden market office station forest hotel library museum church"
            " cellar harbour village theatre"
        )
    ),
)

_NEWS_NOUNS = _nouns(
    rule="law/act tax/levy ban fee",
    building="bridge/viaduct hospital/clinic airport stadium",
    plan="deal/agreement budget reform project/scheme",
)
NEWS = Genre(
    agents=tuple(
        f"the {agent}"
        for agent in _words(
            "mayor minister company president court union senate council judge governor"
        )
    ),
    nouns=_NEWS_NOUNS,
    verbs=_verbs(
        """
        any approved:approve/accepted:accept rejected:reject/refused:refuse
        any supported:support/backed:back opposed:oppose/resisted:resist
        any praised:praise/applauded:applaud criticised:criticise/condemned:condemn
        rule raised:raise/increased:increase lowered:lower/reduced:reduce
        building opened:open closed:close/shut:shut
        building built:build/constructed:construct destroyed:destroy/demolished:demolish
        plan signed:sign cancelled:cancel
        """,
        tuple(_NEWS_NOUNS),
    ),
    adjectives=_pairs(
        """
        public private
        local/regional foreign
        important/major minor
        safe/secure dangerous/risky
        legal/lawful illegal/unlawful
        """
    ),
    colours=(),
    places=_words("paris london berlin rome madrid vienna cairo oslo"),
)

# Words of two meanings: the verb tells which. word -> its two kinds (of HOME).
AMBIGUOUS = {
    "bat": ("animal", "tool"),
    "crane": ("animal", "tool"),
    "mouse": ("animal", "tool"),
    "seal": ("animal", "tool"),
    "jaguar": ("animal", "vehicle"),
    "beetle": ("animal", "vehicle"),
    "mustang": ("animal", "vehicle"),
    "kiwi": ("animal", "food"),
    "lamb": ("animal", "food"),
    "duck": ("animal", "food"),
    "turkey": ("animal", "food"),
    "date": ("food", "text"),
}

# What `because he/she was X` tells about: the one who acts, or the one who is acted upon.
CAUSES = (
    ("helped", ("kind", "friendly"), ("tired", "sick", "hurt")),
    ("thanked", ("grateful", "polite"), ("generous", "helpful")),
    ("scolded", ("angry", "strict"), ("late", "rude", "lazy")),
    ("paid", ("rich", "wealthy"), ("poor", "hungry")),
    ("taught", ("wise", "patient"), ("young", "curious")),
    ("envied", ("jealous", "greedy"), ("famous", "lucky")),
    ("trusted", ("naive", "careless"), ("honest", "loyal")),
    ("carried", ("brave", "tall"), ("tired", "hurt", "sick")),
    ("visited", ("bored", "lonely"), ("sick", "famous")),
    ("tricked", ("clever", "sly"), ("naive", "careless")),
)

POSITIVE = _words(
    "great good wonderful lovely superb charming excellent pleasant perfect brilliant"
)
NEGATIVE = _words("awful bad terrible horrible dull boring poor unpleasant dreadful disappointing")
LIKED = _words("loved liked enjoyed adored")
DISLIKED = _words("hated disliked despised loathed")
REVIEWED = _words("film play meal show concert game trip hotel service music acting plot")
DEGREES = ("very", "really", "quite", "truly")

# Words that no rule of the world needs: the backbone learns to spell them whole, so that text
# from outside is not cut into letters.
COMMON = _words(
    "about above after again all also always an any are around away back be been before began"
    " behind between boy came can child children city come could country day did does done"
    " door down each early earth end enough even ever every eye face family far father feel"
    " few first five food foot for form four friend from gave get girl give go gone group had"
    " half hand has have head hear her here high him his home hour house how hundred idea into"
    " it just keep know land last learn leave left life line live long look made make man many"
    " may me men might mile money month more morning most mother mountain much must my name"
    " near need never next night nine now number of off often once one only open our out over"
    " own page part people picture place plant point question ran rest river road room run"
    " said school sea see seem seven shall ship should side since six sky sleep some something"
    " soon sound speak spring stand start state stay still stop street summer sun table talk"
    " teacher tell ten than their them then there these they think this those thought thousand"
    " three through time today together told tomorrow town travel tree try turn two under"
    " until up upon us walk wall want war warm was watch water way we week well went were what"
    " when where while who whole why will wind window winter wish with woman word work world"
    " would write year yesterday you your january february march april june july august"
    " september october november december father sister brother doctor nurse farmer baker"
    " driver artist king queen prince lady captain soldier weather rain snow cloud storm"
    " island mountain valley desert field beach ocean lake machine computer phone camera paper"
    " pencil picture number letter language history science nature health money price value"
    " power energy metal glass stone wood gold silver iron water coffee milk sugar salt butter"
    " chicken breakfast dinner lunch holiday birthday party music dance football tennis winner"
    " player member leader student office against among during without within across along"
    " almost quickly slowly suddenly usually sometimes perhaps really because although however"
    " important different possible difficult simple strong careful special general natural"
    " human modern several another nothing everything everyone believe remember understand"
    " follow happen finish listen answer travel arrive become bring carry decide explain"
    " forget imagine prepare protect receive suggest wonder"
)
