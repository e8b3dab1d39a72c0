/**
 * What of the platform's Web SDK is about media: an app's own media layer has it, or nobody. Methods that return a promise,
 * methods that do not, and what their properties read as. A service of a service stands after it. `configure({ media })`
 * has them by the same paths; those of the conference without `conference`.
 */
export const MEDIA = {
  audio: {},
  'audio.local': {
    later: 'applyConstraints getCaptureMode getComfortNoiseLevel setCaptureMode setComfortNoiseLevel start stop',
  },
  'audio.remote': { later: 'start stop', now: 'setOutputVolume setVolume' },
  broadcasting: { later: 'start stop' },
  command: {},
  conference: {
    later:
      'audioProcessing configureStateDump createStateDump demo getStateDumpConfiguration listen muteOutput ' +
      'playBlockedAudio replay simulcast startAudio startScreenShare startStream startVideo stopAudio stopScreenShare ' +
      'stopVideo updatePermissions videoForwarding',
    now:
      'audioLevel isMuted isSpeaking localStats mute setSpatialDirection setSpatialEnvironment setSpatialPosition ' +
      'stopStream toggleMute',
    values: {
      leaveConferenceOnBeforeUnload: false,
      maxVideoForwarding: 0,
      peerConnectionStatus: 'closed',
      spatialAudioStyle: null,
      videoForwardingStrategy: undefined,
    },
  },
  extensions: { now: 'hasElectron' },
  filePresentation: { later: 'convert convertUrl image start stop thumbnail update', values: { current: null } },
  mediaDevice: {
    later:
      'enumerateAudioDevices enumerateAudioInputDevices enumerateAudioOutputDevices enumerateDevices ' +
      'enumerateVideoDevices enumerateVideoInputDevices getComfortNoiseLevel selectAudioInput selectAudioOutput ' +
      'selectVideoInput setComfortNoiseLevel',
    values: {
      selectedAudioInputDevice: undefined,
      selectedAudioOutputDevice: undefined,
      selectedVideoInputDevice: undefined,
    },
  },
  notification: {},
  recording: { later: 'start stop', values: { current: null } },
  video: {},
  'video.local': { later: 'applyConstraints disableProcessing setProcessor start stop' },
  'video.remote': { later: 'start stop' },
  videoFilters: { later: 'setFilter', now: 'getSupportedFilters' },
  videoPresentation: { later: 'pause play seek start stop', values: { current: null, state: 'stopped' } },
};

/** What `subscribe` takes, and the event that it is about. */
export const SUBSCRIPTIONS = {
  Invitation: 'invitation',
  'Conference.ActiveParticipants': 'activeParticipants',
  'Conference.Created': 'conferenceCreated',
  'Conference.Ended': 'conferenceEnded',
  'Participant.Joined': 'participantJoined',
  'Participant.Left': 'participantLeft',
};
