"""Step times at degrees that nobody has measured, from those at the two greatest that somebody has."""

from dataclasses import replace

from tetriserve.cost.profile import Profile, StepTime


def extrapolated(profile: Profile, max_degree: int) -> Profile:
    """The profile with every degree up to `max_degree` (a power of two) that it lacks, marked "extrapolated".

    A step is taken to be a part that degrees divide and a part that they don't (Amdahl): cautious where steps are
    long, for part of what is not divided at two devices is divided further at four.
    """
    added = []
    for size, batch in dict.fromkeys((entry.size, entry.batch) for entry in profile.entries):
        known = [entry for entry in profile.entries if (entry.size, entry.batch) == (size, batch)]
        known.sort(key=lambda entry: entry.degree)
        while len(known) > 1 and known[-1].degree < max_degree:
            known.append(_next(*known[-2:]))
            added.append(known[-1])
    return replace(profile, entries=(*profile.entries, *added))


def _next(one: StepTime, two: StepTime) -> StepTime:
    """At twice the degree of `two`, which is twice that of `one`."""
    saved_s = max(0.0, one.step_s - two.step_s)
    # What is divided takes 2 x `saved_s` at `one`'s degree: halved twice since, it saves half of that again.
    return replace(two, degree=2 * two.degree, step_s=two.step_s - saved_s / 2, origin="extrapolated")
