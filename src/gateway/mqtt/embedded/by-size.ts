/** Who is about the largest, whatever their number: sorted by powers of two, and not within one. Not what the sizes are of. */

export type BySize<T> = {
  /** @param size not negative; the one before is forgotten */
  set(item: T, size: number): void
  delete(item: T): void
  /** None is twice as large. @returns undefined also when whoever has `size` has about twice as much as each of them */
  largest(size: number): T | undefined
}

const CLASSES = 33
const classOf = (size: number): number => 32 - Math.clz32(size)

export const createBySize = <T>(): BySize<T> => {
  const classes = Array.from({ length: CLASSES }, () => new Set<T>())
  const places = new Map<T, Set<T>>()
  return {
    set: (item, size) => {
      const place = classes[classOf(size)] as Set<T>
      const before = places.get(item)
      if (before === place) return
      before?.delete(item)
      place.add(item)
      places.set(item, place)
    },
    delete: (item) => {
      places.get(item)?.delete(item)
      places.delete(item)
    },
    largest: (size) => {
      for (let at = CLASSES - 1; at >= classOf(size); at--)
        for (const item of classes[at] as Set<T>) return item
      return undefined
    },
  }
}
