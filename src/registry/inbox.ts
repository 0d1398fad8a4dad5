/** The gateway's inbox: the room's second door. The gateway opens the writer, the enroll desk the reader. */

export { openInboxReader } from './inbox/reader.ts'
export { openInboxWriter } from './inbox/writer.ts'
