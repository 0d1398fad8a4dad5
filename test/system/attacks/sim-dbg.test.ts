import { test } from 'vitest'
import { makePki } from '../../support/pki.ts'
import { quick, simulated } from '../../support/simulation.ts'
import { broker, good, httpsDoor } from './sim/hostile-doors.ts'
import { claimTokenFor, hostileDesk } from './sim/hostile-desk.ts'
test('dbg', async () => {
  const pki = makePki({ now: Date.now() })
  const server = pki.server()
  const tls = { cert: server.fullPem, key: server.keyPem, ca: [pki.root.pem, pki.devices.pem] }
  for (const [name, faults, scenario] of [
   ['clone', {}, {timeline: [{kind:'clone', rival:'renewal', at: 300, lasts: undefined, share: 1}]}],
   ['clonefewer', {}, {duration: 3000, timeline: [{kind:'clone', rival:'renewal', at: 300, lasts: undefined, share: 0.5}]}],
   ['otherca', {leaf: () => ({by: pki.other.devices})}, {}],
   ['nevertold', {first: (r, p) => p === '/v1/enroll'}, {}],
   ['500', {first: (r, p) => { if (p === '/v1/enroll') { r.answer(500, 'x'); r.socket.end(); return true } return false }}, {}],
   ['200', {first: (r, p) => { if (p === '/v1/enroll') { r.answer(200, 'x'); r.socket.end(); return true } return false }}, {}],
   ['202', {first: (r, p) => { if (p === '/v1/enroll') { r.answer(202, '{"state":"waiting","request_id":"a","retry_after":0}', ['retry-after: 0']); r.socket.end(); return true } return false }}, {}],
   ['429', {first: (r, p) => { if (p === '/v1/enroll') { r.answer(429, '{"reason":"rate_limited"}', ['retry-after: 99999999']); r.socket.end(); return true } return false }}, {}],
   ['tokenecho', {extra: {token: 'spt1.t0k0so1jpkoqigzp.P3iBWajP78Ni2ymWuOtdQhRAbJFkSNwJF_E9HCEyqos.PYY7rjcgPG3EuTjH3X5XEOcZfrPxqNmPc5MzKUvkA2Y'}}, {}],
  ] as any) {
  const log: string[] = []
  await using desk = await hostileDesk(pki, tls, {...faults, first: (r, p) => { log.push(r.head.split('\r')[0] + ' cn=' + r.cn); return faults.first?.(r, p) === true }})
  await using door = await httpsDoor(tls, good)
  await using front = await broker(tls, {})
  const t = Date.now()
  const report = await simulated({
      targets: { enroll: `https://localhost:${desk.port}`, https: `https://localhost:${door.port}`, mqtts: `mqtts://localhost:${front.port}` },
      rootPem: pki.root.pem, credentials: { token: claimTokenFor(pki) },
      seed: `dbg1`, signal: AbortSignal.timeout(6_000),
      scenario: quick({ devices: 2, ramp: 20, duration: 1000, load: { kind: 'closed', pace: 100, jitter: 0.5 }, bounds: { revokedWithin: 100, drain: 300 }, assertions: [], ...scenario }),
    }).catch((e) => { console.log('threw', e.code, e.detail); return undefined })
  console.log('#', name, Date.now() - t, log.length, [...new Set(log)].slice(0,40).join(' | ')+
  '\n  ' + JSON.stringify(report?.counts) + JSON.stringify(report?.errors)+ JSON.stringify(report?.refused)+ '\n  ' + JSON.stringify(report?.invariants.filter((i) => i.held === false || ['renewed_in_time','clones_noticed','certificates_verify'].includes(i.name)).map((i) => [i.name,i.held,i.checked,i.broken,i.evidence,i.why])) + '\n  ' + JSON.stringify(report?.timeline)+ JSON.stringify(report?.verdict)+report?.run.interrupted)
  }
}, 200000)
