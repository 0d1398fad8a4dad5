/** Loaded into a desk before its main (`--import`): SIGUSR2 starts a CPU profile, the next one writes it to BENCH_PROFILE. */

import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector/promises'

const session = new Session()
session.connect()
let running = false
process.on('SIGUSR2', () => {
  void (async () => {
    if (!running) {
      await session.post('Profiler.enable')
      await session.post('Profiler.setSamplingInterval', { interval: 250 })
      await session.post('Profiler.start')
      running = true
      return
    }
    const { profile } = await session.post('Profiler.stop')
    writeFileSync(process.env['BENCH_PROFILE'] ?? '', JSON.stringify(profile))
  })()
})
