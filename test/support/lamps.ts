/** The certificates that tests of sessions tell apart: one device's, its renewal with the same key, another device's. None is on record. */

import { makePki, type TestLeaf, type TestPki } from './pki.ts'

export type Lamps = {
  readonly pki: TestPki
  readonly lamp: TestLeaf
  /** the same device and key in another certificate */
  readonly renewed: TestLeaf
  readonly other: TestLeaf
}

export const makeLamps = (now: number): Lamps => {
  const pki = makePki({ now })
  const lamp = pki.device({ id: 'lamp-1' })
  const renewed = pki.device({ id: 'lamp-1', key: lamp })
  return { pki, lamp, renewed, other: pki.device({ id: 'lamp-2' }) }
}
