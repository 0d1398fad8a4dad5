/** The process that posts (posts.ts), as the suites see it: CPU is counted from when its connections are open. */

import { once } from 'node:events'
import { CLIENT_CORE, startHelper } from './helpers.ts'
import type { Go, Opened, Posted, Posts } from './posts.ts'

type Poster = AsyncDisposable & {
  /** @param cpu µs, of all that is measured. @returns what was posted, and the CPU that it took */
  post(posts: Posts, cpu: () => number): Promise<Posted & { readonly cpu: number }>
}

export const startPoster = (): Poster => {
  const program = startHelper(CLIENT_CORE, 'posts.ts')
  const { child } = program
  const gone = once(child, 'exit').then(() => Promise.reject(new Error('the client has ended')))
  gone.catch(() => undefined)
  const tell = async <T>(message: Posts | Go): Promise<T> => {
    const answer = Promise.race([once(child, 'message'), gone])
    child.send(message)
    return ((await answer) as [T])[0]
  }
  return {
    post: async (posts, cpu) => {
      await tell<Opened>(posts)
      const before = cpu()
      const posted = await tell<Posted>('go')
      return { ...posted, cpu: cpu() - before }
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  }
}
