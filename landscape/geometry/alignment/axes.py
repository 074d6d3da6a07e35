"""Axes of tensors as sums of products of atoms, with the constraints that operations impose on their permutations.

An atom is a set of hidden units of a network whose order is arbitrary, or a set of positions whose order matters (a
*fixed* atom). The axis of a tensor is one atom, several atoms one after another (concatenated channels), or the product
of several (channels times pixels, heads times dimensions). Operations merge atoms, refine them and fix them; what is
left free at the end are the permutations that the network's function doesn't see.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(eq=False)
class Atom:
    """A set of units, merged with others by union and find.

    Attributes:
        size: number of units.
        label: tensor in which the units first appeared, for messages.
        fixed: True if the order of the units matters.
        outer: atom for each of whose units this one may have a permutation of its own; None for one permutation.
        parts: atoms whose concatenation this one is.
        factors: atoms whose product this one is, outermost first.
        instances: for an atom of which single units are selected (query, key and value), the atoms that replace the
            ones inside it, by unit.
    """

    size: int
    label: str = ""
    fixed: bool = False
    outer: Atom | None = None
    parts: tuple[Atom, ...] = ()
    factors: tuple[Atom, ...] = ()
    instances: dict[int, dict[Atom, Atom]] = field(default_factory=dict)
    _merged: Atom | None = None
    _inner: tuple[Atom, ...] = ()

    @property
    def root(self) -> Atom:
        """The atom that stands for all atoms merged with this one."""
        atom = self
        while atom._merged is not None:
            atom = atom._merged
        return atom

    def fix(self) -> None:
        """Fix the order of the units, and of everything that they are refined into."""
        atom = self.root
        atom.fixed = True
        for refined in (*atom.parts, *atom.factors):
            refined.fix()

    def split(self, sizes: Sequence[int]) -> tuple[Atom, ...]:
        """Refine the atom into consecutive parts."""
        self.parts = tuple(Atom(size, self.label, self.fixed, self.outer) for size in sizes)
        return self.parts

    def factorize(self, sizes: Sequence[int]) -> tuple[Atom, ...]:
        """Refine the atom into a product; each factor may be permuted separately for each unit of the one before."""
        factors: list[Atom] = []
        for size in sizes:
            outer = factors[-1] if factors else self.outer
            factors.append(Atom(size, self.label, self.fixed, outer))
        for k, factor in enumerate(factors):
            factor._inner = tuple(factors[k + 1 :])
        self.factors = tuple(factors)
        return self.factors

    def select(self, unit: int) -> dict[Atom, Atom]:
        """Return the replacements of the atoms inside this one for one of its units, and fix its own order."""
        self.fix()
        if unit not in self.instances:
            made: dict[Atom, Atom] = {}
            for inner in self._inner:
                _copy_refined(inner, made)
            self.instances[unit] = made
        return self.instances[unit]


Term = tuple[Atom, ...]
"""A product of atoms, outermost first."""
Axis = tuple[Term, ...] | None
"""A concatenation of products; None for an axis of one entry or of equal entries, which constrains nothing."""


def _copy_refined(atom: Atom, made: dict[Atom, Atom]) -> Atom:
    """Copy an atom and the factors that it is refined into, noting each copy in ``made``."""
    outer = None if atom.outer is None else made.get(atom.outer)
    copied = made[atom] = Atom(atom.size, atom.label, atom.fixed, outer)
    copied._inner = tuple(made[inner] for inner in atom._inner if inner in made)
    if atom.factors:
        for factor, twin in zip(atom.factors, copied.factorize([f.size for f in atom.factors]), strict=True):
            made[factor] = twin
            if factor.factors:
                inner_made = _copy_refined(factor, made)
                twin.factors = inner_made.factors
    return copied


def new_axis(size: int, label: str = "", fixed: bool = False) -> Axis:
    """Return an axis of one new atom; None for a single entry."""
    return None if size == 1 else ((Atom(size, label, fixed),),)


def atoms_of(axis: Axis) -> Iterator[Atom]:
    """Yield the roots of the atoms of an axis."""
    for term in resolve(axis):
        yield from term


def is_free(axis: Axis) -> bool:
    """Return True if any permutation of units remains on the axis."""
    return any(not atom.fixed and atom.size > 1 for atom in atoms_of(axis))


def fix(axis: Axis) -> None:
    """Fix the order of everything on the axis."""
    for term in axis or ():
        for atom in term:
            atom.fix()


def resolve(axis: Axis) -> tuple[Term, ...]:
    """Return the terms of an axis with refined atoms replaced by what they are refined into."""
    return tuple(resolved for term in axis or () for resolved in _resolve_term(term))


def _resolve_term(term: Term) -> Iterator[Term]:
    for k, atom in enumerate(term):
        root = atom.root
        if root.factors:
            yield from _resolve_term((*term[:k], *root.factors, *term[k + 1 :]))
            return
        if root.parts:
            if k == 0:
                for part in root.parts:
                    yield from _resolve_term((part, *term[1:]))
                return
            root.fix()  # parts inside a product are not consecutive
    yield tuple(atom.root for atom in term)


def size_of(term: Term) -> int:
    """Return the number of entries of a product."""
    return math.prod(atom.size for atom in term)


def unify(a: Axis, b: Axis) -> Axis:
    """Require that two axes of equal length are permuted alike, and return the axis that both then are."""
    if a is None or b is None:
        return b if a is None else a
    left, right = list(resolve(a)), list(resolve(b))
    result: list[Term] = []
    while left and right:
        x, y = left.pop(0), right.pop(0)
        if size_of(x) != size_of(y):
            longer, shorter, rest = (x, y, left) if size_of(x) > size_of(y) else (y, x, right)
            pieces = _cut(longer, size_of(shorter))
            if pieces is None:
                fix(a)
                fix(b)
                return a
            rest.insert(0, pieces[1])
            x, y = (pieces[0], y) if longer is x else (x, pieces[0])
        if not _unify_terms(x, y):
            fix((x, y))
        result.append(x)
    return tuple(result)


def _cut(term: Term, size: int) -> tuple[Term, Term] | None:
    """Cut a product after ``size`` entries; None if that would cut through units."""
    first, inner = term[0], size_of(term[1:])
    if size % inner:
        return None
    head, tail = first.split((size // inner, first.size - size // inner))
    return (head, *term[1:]), (tail, *term[1:])


def cut(axis: Axis, start: int, stop: int) -> Axis:
    """Return the part of an axis between two positions."""
    if axis is None:
        return None
    position, found = 0, []
    terms = list(resolve(axis))
    while terms:
        term = terms.pop(0)
        size = size_of(term)
        for at in (start, stop):
            if position < at < position + size:
                pieces = _cut(term, at - position)
                if pieces is None:
                    fix(axis)
                    return new_axis(stop - start, fixed=True)
                terms.insert(0, pieces[1])
                term, size = pieces[0], at - position
                break
        if start <= position < stop:
            found.append(term)
        position += size
    return tuple(found)


def _unify_terms(x: Term, y: Term) -> bool:
    """Merge the factors of two products of equal size; False if they cannot be matched."""
    left, right = list(x), list(y)
    while left and right:
        a, b = left.pop(0).root, right.pop(0).root
        if a.size != b.size:
            larger, smaller, rest = (a, b, left) if a.size > b.size else (b, a, right)
            if larger.size % smaller.size:
                return False
            head, tail = larger.factorize((smaller.size, larger.size // smaller.size))
            rest.insert(0, tail)
            a, b = (head, b) if larger is a else (a, head)
        merge(a, b)
    return all(atom.size == 1 for atom in (*left, *right))


def merge(a: Atom, b: Atom) -> None:
    """Require that two atoms of equal size are permuted alike."""
    a, b = a.root, b.root
    if a is b:
        return
    same_outer = a.outer is not None and b.outer is not None and a.outer.root is b.outer.root
    b._merged = a
    if a.fixed or b.fixed:
        a.fix()
        b.fixed = True
    if not same_outer:
        a.outer = None


def flatten(axes: Sequence[Axis], sizes: Sequence[int]) -> Axis:
    """Return the axis that several adjacent axes become when they are flattened."""
    parts = [axis if axis is not None else new_axis(size) for axis, size in zip(axes, sizes, strict=True)]
    present = [axis for axis in parts if axis is not None]
    if not present:
        return None
    terms = list(resolve(present[0]))
    for inner in present[1:]:
        resolved = resolve(inner)
        if len(resolved) > 1:
            fix(inner)
            resolved = ((Atom(sum(map(size_of, resolved)), fixed=True),),)
        terms = [(*term, *resolved[0]) for term in terms]
    return tuple(terms)


def unflatten(axis: Axis, sizes: Sequence[int]) -> list[Axis]:
    """Return the axes that one axis becomes when it is divided into a product of sizes, outermost first."""
    if axis is None or len(sizes) == 1:
        return [axis if size > 1 else None for size in sizes]
    kept = [size for size in sizes if size > 1]
    inner = math.prod(kept[1:])
    heads: list[Term] = []
    tails: list[Axis] = [None] * len(kept[1:])
    for term in resolve(axis):
        if len(kept) > 1 and size_of(term) % inner:
            fix(axis)
            return [new_axis(size, fixed=True) for size in sizes]
        pieces = _factor(term, [size_of(term) // inner, *kept[1:]])
        if pieces is None:
            fix(axis)
            return [new_axis(size, fixed=True) for size in sizes]
        heads.append(pieces[0])
        tails = [unify(tail, (piece,) if piece else None) for tail, piece in zip(tails, pieces[1:], strict=True)]
    found: list[Axis] = [tuple(heads), *tails]
    return [found.pop(0) if size > 1 else None for size in sizes]


def _factor(term: Term, sizes: Sequence[int]) -> list[Term] | None:
    """Divide a product into consecutive products of given sizes, factoring atoms where needed."""
    atoms, found = list(term), []
    for size in sizes:
        piece: list[Atom] = []
        while size > 1:
            atom = atoms.pop(0).root
            if atom.size > size:
                if atom.size % size:
                    return None
                atom, rest = atom.factorize((size, atom.size // size))
                atoms.insert(0, rest)
            elif size % atom.size:
                return None
            piece.append(atom)
            size //= atom.size
        found.append(tuple(piece))
    return found
