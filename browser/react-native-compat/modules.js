/** The native modules of the platform's SDK that Greenroom has nothing for, and their methods. */
export const NOT_AVAILABLE = {
  CommsAPIAudioPreviewModule: 'getCaptureMode play record release setCaptureMode status stop',
  CommsAPICommandServiceModule: 'send',
  CommsAPIConferenceServiceModule:
    'create current fetch getAudioLevel getAudioProcessing getLocalStats getMaxVideoForwarding getParticipant ' +
    'getParticipants getStatus isMuted isSpeaking join kick leave listen mute replay setAudioProcessing ' +
    'setMaxVideoForwarding setSpatialDirection setSpatialEnvironment setSpatialPosition setVideoForwarding ' +
    'startAudio startScreenShare startVideo stopAudio stopScreenShare stopVideo updatePermissions',
  CommsAPIFilePresentationServiceModule: 'convert getCurrent getImage getThumbnail setPage start stop',
  CommsAPILocalAudioModule:
    'getCaptureMode getComfortNoiseLevel setCaptureMode setComfortNoiseLevel start stop getVoiceFont setVoiceFont',
  CommsAPILocalVideoModule: 'start stop',
  CommsAPIMediaDeviceServiceModule:
    'getComfortNoiseLevel isFrontCamera setComfortNoiseLevel switchCamera switchSpeaker',
  CommsAPINotificationServiceModule: 'decline invite subscribe unsubscribe',
  CommsAPIRecordingServiceModule: 'current start stop',
  CommsAPIRemoteAudioModule: 'start stop',
  CommsAPIRemoteVideoModule: 'start stop',
  CommsAPIVideoPresentationServiceModule: 'current pause play seek start state stop',
};
