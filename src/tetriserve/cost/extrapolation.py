"""Step times at degrees that nobody has measured, from those at the two greatest that somebody has."""

from dataclasses import replace

from tetriserve.cost.profile import Profile, StepTime


def extrapolated(profile: Profile, max_degree: int) -> Profile:
    """The profile with every degree up to `max_degree` (a power of two) that it lacks, marked "extrapolated".

    A step is taken to be a part that degrees divide and a part that they don't (Amdahl): cautious where steps are
    long, for part of what is not divided at two devices is divided further at four.
    """
    known, least_s = list(profile.entries), dict[tuple[int, int], float]()
    for size, batch in sorted({(entry.size, entry.batch) for entry in known}, key=lambda cell: cell[0].num_tokens):
        cell = sorted((e for e in profile.entries if (e.size, e.batch) == (size, batch)), key=lambda e: e.degree)
        while len(cell) > 1 and cell[-1].degree < max_degree:
            entry = _next(*cell[-2:])
            # A larger image takes no less time than a smaller one, of which more may not be divided.
            least_s[entry.degree, batch] = max(entry.step_s, least_s.get((entry.degree, batch), 0.0))
            cell.append(replace(entry, step_s=least_s[entry.degree, batch]))
            known.append(cell[-1])
    return replace(profile, entries=tuple(known))


def _next(one: StepTime, two: StepTime) -> StepTime:
    """At twice the degree of `two`, which is twice that of `one`."""
    saved_s = max(0.0, one.step_s - two.step_s)
    # What is divided takes 2 x `saved_s` at `one`'s degree: halved twice since, it saves half of that again.
    return replace(two, degree=2 * two.degree, step_s=two.step_s - saved_s / 2, origin="extrapolated")
