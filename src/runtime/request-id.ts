/** The id that ties a reply, its log line and a support request together. Not a secret and not taken from a client. */

import { randomUUID } from 'node:crypto'

export const newRequestId = (): string => randomUUID()
