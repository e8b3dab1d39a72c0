/**
 * Methods of the native modules of the platform's SDK that are about media: an app's own media layer has them, or nobody.
 * The name before the colon is that of the object in `media` that has them; none for those of the conference itself.
 */
export const MEDIA = {
  CommsAPIAudioPreviewModule: 'audioPreview: getCaptureMode play record release setCaptureMode status stop',
  CommsAPIConferenceServiceModule:
    'getAudioLevel getAudioProcessing getLocalStats getMaxVideoForwarding isMuted isSpeaking listen mute replay ' +
    'setAudioProcessing setMaxVideoForwarding setSpatialDirection setSpatialEnvironment setSpatialPosition ' +
    'setVideoForwarding startAudio startScreenShare startVideo stopAudio stopScreenShare stopVideo updatePermissions',
  CommsAPIFilePresentationServiceModule:
    'filePresentation: convert getCurrent getImage getThumbnail setPage start stop',
  CommsAPILocalAudioModule:
    'localAudio: getCaptureMode getComfortNoiseLevel setCaptureMode setComfortNoiseLevel start stop getVoiceFont setVoiceFont',
  CommsAPILocalVideoModule: 'localVideo: start stop',
  CommsAPIMediaDeviceServiceModule:
    'mediaDevice: getComfortNoiseLevel isFrontCamera setComfortNoiseLevel switchCamera switchSpeaker',
  CommsAPIRecordingServiceModule: 'recording: current start stop',
  CommsAPIRemoteAudioModule: 'remoteAudio: start stop',
  CommsAPIRemoteVideoModule: 'remoteVideo: start stop',
  CommsAPIVideoPresentationServiceModule: 'videoPresentation: current pause play seek start state stop',
};

/** Names of the events of the native modules. */
export const EVENTS = {
  status: 'EVENT_CONFERENCE_STATUS_UPDATED',
  participantAdded: 'EVENT_CONFERENCE_PARTICIPANT_ADDED',
  participantUpdated: 'EVENT_CONFERENCE_PARTICIPANT_UPDATED',
  message: 'EVENT_COMMAND_MESSAGE_RECEIVED',
  invitation: 'EVENT_NOTIFICATION_INVITATION_RECEIVED',
  conferenceStatus: 'EVENT_NOTIFICATION_CONFERENCE_STATUS',
  conferenceCreated: 'EVENT_NOTIFICATION_CONFERENCE_CREATED',
  conferenceEnded: 'EVENT_NOTIFICATION_CONFERENCE_ENDED',
  participantJoined: 'EVENT_NOTIFICATION_PARTICIPANT_JOINED',
  participantLeft: 'EVENT_NOTIFICATION_PARTICIPANT_LEFT',
  activeParticipants: 'EVENT_NOTIFICATION_ACTIVE_PARTICIPANTS',
};

/** What `subscribe` takes, and the event that it is about. */
export const SUBSCRIPTIONS = {
  SUBSCRIPTION_TYPE_INVITATION_RECEIVED: 'invitation',
  SUBSCRIPTION_TYPE_ACTIVE_PARTICIPANTS: 'activeParticipants',
  SUBSCRIPTION_TYPE_CONFERENCE_CREATED: 'conferenceCreated',
  SUBSCRIPTION_TYPE_CONFERENCE_ENDED: 'conferenceEnded',
  SUBSCRIPTION_TYPE_PARTICIPANT_JOINED: 'participantJoined',
  SUBSCRIPTION_TYPE_PARTICIPANT_LEFT: 'participantLeft',
};
