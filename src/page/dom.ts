/** The element with this id, which index.html has. */
export function byId<Type extends Element = HTMLElement>(id: string): Type {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`index.html has no #${id}`);
  return found as Element as Type;
}

export function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  className = '',
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...children);
  return element;
}

const HUES = 12;

/** A round badge with the first letters of a name, in a colour that goes with the name. */
export function avatar(name: string): HTMLElement {
  // FNV-1a: short names that differ in one letter should not look alike.
  let hash = 0x811c9dc5;
  for (const character of name) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  const badge = make(
    'span',
    `avatar hue-${Math.floor((hash / 2 ** 32) * HUES)}`,
    name.slice(0, 2).toUpperCase(),
  );
  badge.ariaHidden = 'true';
  return badge;
}
