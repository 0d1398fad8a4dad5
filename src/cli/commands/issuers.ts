/** Where `ca rotate` and `issuer` find issuers. */

import type { Issuer } from '#wire/rest.ts'
import type { Collection } from '../rotating.ts'

export const ISSUERS: Collection<Issuer> = {
  words: 'ca rotate',
  path: '/v1/issuers',
  what: 'issuer',
  argument: 'ski',
  idOf: ({ ski }) => ski,
}
