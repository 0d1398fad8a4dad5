/**
 * How many connections of one identity there are at once, by their ClientIDs (`connections` of an application). Two with one ClientID are one:
 * the newer takes over from the older. Not who holds a ClientID at the broker: ./holders.ts.
 */

export type Places = {
  /** @param most ClientIDs of this identity. @returns undefined: it has that many; else dispose of it when the connection has ended */
  take(identity: string, clientId: string, most: number): Disposable | undefined
}

class Place implements Disposable {
  readonly #give: (place: Place) => void
  readonly identity: string
  readonly clientId: string
  #given = false

  constructor(give: (place: Place) => void, identity: string, clientId: string) {
    this.#give = give
    this.identity = identity
    this.clientId = clientId
  }

  [Symbol.dispose](): void {
    if (this.#given) return
    this.#given = true
    this.#give(this)
  }
}

const change = (counts: Map<string, number>, key: string, by: 1 | -1): number => {
  const count = (counts.get(key) ?? 0) + by
  if (count === 0) counts.delete(key)
  else counts.set(key, count)
  return count
}

export const createPlaces = (): Places => {
  /** ClientIDs of an identity */
  const held = new Map<string, number>()
  /** connections with a ClientID: more than one while it is being taken over. No two identities have a ClientID in common. */
  const sharing = new Map<string, number>()
  const give = ({ identity, clientId }: Place): void => {
    if (change(sharing, clientId, -1) === 0) change(held, identity, -1)
  }
  return {
    take: (identity, clientId, most) => {
      if (!sharing.has(clientId)) {
        if ((held.get(identity) ?? 0) >= most) return undefined
        change(held, identity, 1)
      }
      change(sharing, clientId, 1)
      return new Place(give, identity, clientId)
    },
  }
}
