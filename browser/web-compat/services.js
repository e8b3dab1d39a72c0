/**
 * The services of the platform's Web SDK that Greenroom has nothing for: methods that return a promise, methods that
 * do not, and what their properties read as where there is no conference. A service of a service stands after it.
 */
export const NOT_AVAILABLE = {
  audio: {},
  'audio.local': {
    later: 'applyConstraints getCaptureMode getComfortNoiseLevel setCaptureMode setComfortNoiseLevel start stop',
  },
  'audio.remote': { later: 'start stop', now: 'setOutputVolume setVolume' },
  broadcasting: { later: 'start stop' },
  command: { later: 'send' },
  conference: {
    later:
      'audioProcessing configureStateDump create createStateDump demo fetch getStateDumpConfiguration join kick leave ' +
      'listen muteOutput playBlockedAudio replay simulcast startAudio startScreenShare startStream startVideo ' +
      'stopAudio stopScreenShare stopVideo updatePermissions videoForwarding',
    now:
      'audioLevel isMuted isSpeaking localStats mute setSpatialDirection setSpatialEnvironment setSpatialPosition ' +
      'stopStream toggleMute',
    values: {
      current: null,
      leaveConferenceOnBeforeUnload: false,
      maxVideoForwarding: 0,
      participants: new Map(),
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
  notification: { later: 'invite subscribe unsubscribe' },
  recording: { later: 'start stop', values: { current: null } },
  video: {},
  'video.local': { later: 'applyConstraints disableProcessing setProcessor start stop' },
  'video.remote': { later: 'start stop' },
  videoFilters: { later: 'setFilter', now: 'getSupportedFilters' },
  videoPresentation: { later: 'pause play seek start stop', values: { current: null, state: 'stopped' } },
};
