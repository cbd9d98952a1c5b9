/** The known word that somebody most likely meant, if any is near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const near = known
    .map((one) => ({ one, away: distance(word.slice(0, 64).toLowerCase(), one) }))
    .filter(({ one, away }) => away <= Math.max(2, Math.floor(one.length / 3)))
    .sort((a, b) => a.away - b.away);
  return near[0]?.one;
}

/** How many letters must be added, removed or changed to make one word of the other. */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const same = from[i - 1] === to[j - 1] ? 0 : 1;
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + same));
    }
    row = next;
  }
  return row[to.length]!;
}
