/**
 * Links of lists whose elements have numbers from 1 on, 0 being the end: a link says by how much the next element's number differs
 * from the one that follows the element's own. So zeros, which a memory is full of at first, are a list in the order of the numbers,
 * and only its last element has to be written.
 */

/** The link that leads from an element to another one, or to the end. */
export const linkTo = (next: number, element: number): number => next - (element + 1);

/** Where the link of an element leads to. */
export const follow = (link: number, element: number): number => link + element + 1;
