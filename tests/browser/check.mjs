// One word for what has to hold.

export function check(isTrue, what) {
  if (!isTrue) throw new Error(what);
}

export function same(found, expected, what) {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
  check(a === b, `${what}: expected ${b}, got ${a}`);
}
