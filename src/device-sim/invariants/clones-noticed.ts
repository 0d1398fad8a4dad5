/**
 * A copy of a device is noticed: at the first connection beside the original, or when both have renewed and both use what they got. What the clients see
 * settles it when the copy, or the original after it, is told `clone_suspected`. When the copy got in and nobody was told so, only the operator
 * knows: those are `unsettled`, for the coordinator to ask about. A copy that was refused for another reason, that reached nobody, or that
 * renewed and did not use it, put nothing to the test (docs/lifecycle.md, Copies of a device).
 */

import { createPerDevice, type Judge } from './judge.ts'

type State = {
  copied: boolean
  /** the copy uses what it has */
  gotIn: boolean
  /** the original has to do with it: its connection was taken, or it has renewed as well */
  rival: boolean
  suspected: boolean
  /** the original's last renewal was done, ms since the epoch */
  renewed: number
}

export type ClonesJudge = Judge & {
  /** devices whose copy got in without a word to anybody */
  unsettled(): readonly string[]
}

export const clonesNoticed = (): ClonesJudge => {
  const devices = createPerDevice<State>(() => ({
    copied: false,
    gotIn: false,
    rival: false,
    suspected: false,
    renewed: -Infinity,
  }))
  return {
    on: {
      // told when it is over: what the original saw meanwhile has been heard already
      cloned({ device, at, rival, outcome }) {
        const state = devices.of(device)
        state.copied = true
        if (outcome === 'clone_suspected') state.suspected = true
        if (outcome !== 'admitted') return
        state.gotIn = true
        if (rival === 'connection' || state.renewed >= at) state.rival = true
      },
      renewed({ device, at, millis }) {
        const state = devices.of(device)
        state.renewed = at + millis
        if (state.gotIn) state.rival = true
      },
      refused({ device, reason }) {
        if (reason === 'clone_suspected') devices.of(device).suspected = true
      },
    },
    finding: () => ({
      name: 'clones_noticed',
      checked: Array.from(devices.entries()).filter(([, { copied, suspected }]) => copied && suspected)
        .length,
      broken: 0,
      evidence: [],
    }),
    unsettled: () =>
      Array.from(devices.entries())
        .filter(([, { gotIn, rival, suspected }]) => gotIn && rival && !suspected)
        .map(([device]) => device),
  }
}
